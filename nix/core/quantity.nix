# Sums of Kubernetes quantities, in thousandths of the unit.
let
  inherit (builtins) elemAt fromJSON match stringLength substring;
  units = {
    m = 1;
    k = 1000 * 1000;
    M = 1000 * units.k;
    G = 1000 * units.M;
    T = 1000 * units.G;
    Ki = 1024 * 1000;
    Mi = 1024 * units.Ki;
    Gi = 1024 * units.Mi;
    Ti = 1024 * units.Gi;
  };
  # Leading zeros make no JSON number.
  number = digits:
    if stringLength digits > 1 && substring 0 1 digits == "0" then number (substring 1 (-1) digits) else fromJSON digits;
  scale = [ 1000 100 10 1 ];
in
# null for what is no quantity, is finer than a thousandth, or has a unit that no home has.
text:
let
  parts = match "([0-9]+)([.]([0-9]{1,3}))?(m|k|M|G|T|Ki|Mi|Gi|Ti)?" text;
  fraction = if elemAt parts 2 == null then "" else elemAt parts 2;
  thousandths = number (elemAt parts 0) * 1000
    + (if fraction == "" then 0 else number fraction * elemAt scale (stringLength fraction));
  unit = elemAt parts 3;
in
if parts == null then null
else if unit == null then thousandths
else if unit == "m" then thousandths / 1000
else thousandths * (units.${unit} / 1000)
