# YAML that is read back as what it was. tests/nix/run compares with a parser besides.
_:
let
  inherit (import ../../../nix/core) yaml;
  text = value: yaml.document { a = value; };
in
{
  "texts that are words stay plain, and others are quoted" = {
    found = map text [ "velero" "yes" "null" "256Mi" "336h" "1e3" "0 3 * * *" "*" "" "a: b" "./x" "#x" "-" "ref+sops://a#b" "12" ];
    expected = map (value: "---\na: ${value}\n")
      [ "velero" "\"yes\"" "\"null\"" "256Mi" "336h" "\"1e3\"" "\"0 3 * * *\"" "\"*\"" "\"\"" "\"a: b\"" "./x" "\"#x\"" "\"-\"" "\"ref+sops://a#b\"" "\"12\"" ];
  };
  "texts of lines are blocks" = {
    found = text "one\n  two\n\nthree\n";
    expected = "---\na: |\n  one\n    two\n\n  three\n";
  };
  "texts that no block can hold are quoted" = {
    found = map text [ "one\ntwo" " one\n" "one\n\n" "\n" "a\tb\n" ];
    expected = map (value: "---\na: ${value}\n") [ "\"one\\ntwo\"" "\" one\\n\"" "\"one\\n\\n\"" "\"\\n\"" "\"a\\tb\\n\"" ];
  };
  "sets and lists are nested by two columns" = {
    found = yaml.document { b = [{ name = "x"; list = [ 1 [ true ] ]; } "y" { } [ ]]; a = { c = null; }; };
    expected = "---\na:\n  c: null\nb:\n  - list:\n      - 1\n      -\n        - true\n    name: x\n  - \"y\"\n  - {}\n  - []\n";
  };
  "each of many documents begins with a line" = {
    found = yaml.documents [{ a = 1; } { b = 2; }];
    expected = "---\na: 1\n---\nb: 2\n";
  };
}
