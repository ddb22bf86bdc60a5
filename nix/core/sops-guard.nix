# Tells a sealed file from one in which something is readable. What `sops` and `trysail secrets seal` write has one shape, and
# only that is known here: a file in another shape, however harmless, is refused.
let
  inherit (builtins) concatStringsSep elemAt filter foldl' isString match readFile split stringLength substring;

  is = pattern: line: match pattern line != null;

  # A long line is looked at in its ends: expressions over a whole one exhaust the stack of older Nix.
  isCiphertext = value:
    let n = stringLength value; in
    value == "\"\"" || value == "''"
    || n > 40 && substring 0 20 value == "ENC[AES256_GCM,data:" && substring (n - 1) 1 value == "]";

  # The value of an indented line `key: value`; null where it is none.
  valueOf = line:
    let parts = match "( +[A-Za-z0-9_.-]+: ).*" (substring 0 300 line);
    in if parts == null then null else substring (stringLength (elemAt parts 0)) (-1) line;

  read = state: line:
    if line == "" || is "[ ]*#.*" line then state
    else if line == "---" then state // { block = null; documents = state.documents + (if state.hasContent then 1 else 0); }
    else if is "(data|stringData):" line then state // { block = "secret"; hasContent = true; }
    else if line == "sops:" then state // { block = "sops"; seals = state.seals + 1; hasContent = true; }
    else if line == "metadata:" then state // { block = "metadata"; hasContent = true; }
    else if is "(apiVersion|kind|type|immutable): [A-Za-z0-9/.\"-]+" line then state // { block = null; hasContent = true; }
    else if state.block == "secret" && valueOf line != null && isCiphertext (valueOf line) then state
    else if state.block == "sops" && substring 0 1 line == " " then state // { macs = state.macs + (if is "[ ]+mac: ENC[[]AES256_GCM,.*" (substring 0 200 line) then 1 else 0); }
    else if state.block == "metadata" && is "[ ]+[A-Za-z0-9_./-]+:( [A-Za-z0-9_./\" -]+)?" line then state
    else state // { readable = state.readable + 1; };

  # What is wrong with a text; empty where all of it is sealed.
  problems = text:
    let
      lines = filter isString (split "\n" text);
      found = foldl' read { block = null; documents = 0; hasContent = false; macs = 0; readable = 0; seals = 0; } lines;
      when = condition: problem: if condition then [ problem ] else [ ];
    in
    when (found.seals == 0) "it has no `sops:` block"
    ++ when (found.seals > 1 || found.documents > 0) "it has more than one document"
    ++ when (found.seals == 1 && found.macs == 0) "its `sops:` block has no `mac`"
    ++ when (found.readable != 0) "${toString found.readable} of its lines may be readable";
in
{
  inherit problems;

  # The path, if what lies there is sealed. Nothing of the file is in the message.
  file = path:
    let found = problems (readFile path); in
    if found == [ ] then path
    else throw "${toString path}: ${concatStringsSep ", " found}; seal it with `trysail secrets seal` or `sops encrypt --in-place`";
}
