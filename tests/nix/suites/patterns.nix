# What texts are taken, and which are not.
_:
let
  patterns = import ../../../nix/core/patterns.nix;
  quantity = import ../../../nix/core/quantity.nix;
  taken = pattern: builtins.filter (text: builtins.match pattern text != null);
in
{
  "a cron line has five fields in their ranges, or is a word" = {
    found = taken patterns.cron [
      "0 3 * * *"
      "*/15 * * * *"
      "0 2 1,15 * *"
      "5-55/10 0-6 * jan-mar MON"
      "@daily"
      "@every 6h"
      "0 0 ? * SUN"
      "0 25 * * *"
      "60 3 * * *"
      "0 3 * *"
      "0 3 * * * *"
      "0 3 32 * *"
      "0 3 * 13 *"
      "0 3 * * 7"
      "daily"
      "@every"
      "CRON_TZ=UTC 0 3 * * *"
      "0 3 * * * "
      ""
    ];
    expected = [ "0 3 * * *" "*/15 * * * *" "0 2 1,15 * *" "5-55/10 0-6 * jan-mar MON" "@daily" "@every 6h" "0 0 ? * SUN" ];
  };
  "a duration has units" = {
    found = taken patterns.duration [ "336h" "1h30m" "1.5h" "500ms" "14d" "336" "h" "" "-1h" ];
    expected = [ "336h" "1h30m" "1.5h" "500ms" ];
  };
  "an image has neither tag nor digest nor a line break" = {
    found = taken patterns.image [ "trysail" "registry.home.arpa:5000/a/trysail" "trysail:1" "trysail@sha256:0" "trysail\n" "Trysail" "" ];
    expected = [ "trysail" "registry.home.arpa:5000/a/trysail" ];
  };
  "a reference says where, with a scheme" = {
    found = taken patterns.reference [ "ref+sops://a.yaml#k" "ref+vault://a/b#/c" "ref+file:///run/k" "AKIAEXAMPLE" "ref+sops://" "sops://a#k" "ref+sops://a#k b" "ref+sops://a#k\n" ];
    expected = [ "ref+sops://a.yaml#k" "ref+vault://a/b#/c" "ref+file:///run/k" ];
  };
  "quantities are compared in thousandths" = {
    found = map quantity [ "2" "500m" "0.5" "1.25" "08" "4Gi" "1.5Ki" "1k" "lots" "1e3" ];
    expected = [ 2000 500 500 1250 8000 4294967296000 1536000 1000000 null null ];
  };
}
