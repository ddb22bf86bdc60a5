# Sealed files pass; whatever may be read does not.
_:
let
  inherit (import ../../../nix/core) sopsGuard;
  inherit (builtins) length readFile replaceStrings;
  sealed = readFile ../inputs/velero-s3-secret.sops.yaml;
  change = from: to: let text = replaceStrings [ from ] [ to ] sealed; in assert text != sealed; sopsGuard.problems text;
  one = [ "1 of its lines may be readable" ];
in
{
  "a file that sops sealed passes" = { found = sopsGuard.problems sealed; expected = [ ]; };
  "an empty value hides nothing" = { found = change "empty: \"\"" "empty: ''"; expected = [ ]; };
  "comments pass" = { found = change "type: Opaque" "# by hand\ntype: Opaque"; expected = [ ]; };
  "a leading line of dashes passes" = { found = change "apiVersion: v1" "---\napiVersion: v1"; expected = [ ]; };

  "a value that was added later is found" = { found = change "    empty: \"\"" "    empty: \"\"\n    password: hunter2"; expected = one; };
  "a value without an end is found" = { found = change "    empty: \"\"" "    empty: ENC[AES256_GCM,data:"; expected = one; };
  "a key in quotes is found" = { found = change "    empty: \"\"" "    \"pass\": hunter2"; expected = one; };
  "a block is found" = { found = length (change "    empty: \"\"" "    pem: |\n        -----BEGIN") == 1; expected = true; };
  "a set in braces is found" = { found = change "stringData:\n" "stringData: {password: hunter2}\nstringData:\n"; expected = one; };
  "a top-level field that we do not know is found" = { found = change "type: Opaque" "type: Opaque\npassword: hunter2"; expected = one; };
  "an annotation with a text of lines is found" = { found = change "    namespace: velero" "    namespace: velero\n    annotations:\n        a: '{\"password\":\"hunter2\"}'"; expected = one; };
  "a second document is found" = { found = sopsGuard.problems (sealed + "---\n" + sealed); expected = [ "it has more than one document" ]; };
  "a file without seal is refused" = { found = sopsGuard.problems "apiVersion: v1\nkind: Secret\nstringData:\n  cloud: hunter2\n"; expected = [ "it has no `sops:` block" "1 of its lines may be readable" ]; };
  "a seal without mac is refused" = { found = change "    mac: ENC" "    mic: ENC"; expected = [ "its `sops:` block has no `mac`" ]; };
  "a file that says nothing is refused" = { found = sopsGuard.problems ""; expected = [ "it has no `sops:` block" ]; };
}
