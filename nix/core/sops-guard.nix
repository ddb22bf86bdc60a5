# Lets a sealed file through and nothing else. What `sops` and `trysail secrets seal` write has one shape, and only that
# is known here: a file in another shape, however harmless, is refused.
path:
let
  inherit (builtins) filter foldl' isString match readFile split stringLength substring;

  is = pattern: line: match pattern line != null;
  lines = filter isString (split "\n" (readFile path));

  # A long line is looked at in its ends: expressions over a whole one exhaust the stack of older Nix.
  isCiphertext = value:
    let n = stringLength value; in
    value == "\"\"" || value == "''"
    || (n > 40 && substring 0 17 value == "ENC[AES256_GCM,da" && substring (n - 1) 1 value == "]");

  # Key and value of an indented line; null where it is none.
  pair = line:
    let parts = match "( +[A-Za-z0-9_.-]+): (.*)" (substring 0 300 line);
    in if parts == null then null else substring (stringLength (builtins.elemAt parts 0) + 2) (-1) line;

  read = state: line:
    if is "#.*" line || line == "" then state
    else if line == "---" then state // { block = null; documents = state.documents + 1; sealed = false; }
    else if is "(data|stringData):" line then state // { block = "secret"; }
    else if line == "sops:" then state // { block = "sops"; sealed = true; seals = state.seals + 1; }
    else if is "(apiVersion|kind|type|immutable): [A-Za-z0-9/.\"-]+" line then state // { block = null; }
    else if is "(metadata|sops):" line then state // { block = "open"; }
    else if state.block == "secret" && pair line != null && isCiphertext (pair line) then state
    else if (state.block == "open" || state.block == "sops") && substring 0 1 line == " " then state
    else state // { readable = state.readable + 1; };

  result = foldl' read { block = null; documents = 0; seals = 0; readable = 0; sealed = false; } lines;
  mac = filter (line: is "[ ]+mac: ENC.AES256_GCM,.*" (substring 0 200 line)) lines;
  fail = what: throw "${toString path}: ${what}; seal it with `trysail secrets seal` or `sops --encrypt --in-place`";
in
if result.seals == 0 then fail "it has no `sops:` block"
else if result.documents > 1 then fail "it has more than one document"
else if mac == [ ] then fail "its `sops:` block has no `mac`"
else if result.readable != 0 then fail "${toString result.readable} of its lines may be readable"
else path
