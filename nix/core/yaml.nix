# Writes values as YAML that people can read and every parser of YAML 1.1 and 1.2 reads alike. Keys are in the order of
# Nix's sets, which is that of their bytes. Floats are not written: no object of ours has one.
let
  inherit (builtins) attrNames concatStringsSep elem filter isAttrs isBool isInt isList isString map match replaceStrings
    split stringLength substring toJSON typeOf;

  indent = depth: concatStringsSep "" (builtins.genList (_: "  ") depth);

  # Words that parsers take for something else than text.
  reserved = [ "null" "Null" "NULL" "true" "True" "TRUE" "false" "False" "FALSE" "yes" "Yes" "YES" "no" "No" "NO" "on" "On" "ON" "off" "Off" "OFF" "y" "Y" "n" "N" ];
  # Among what begins with a digit, numbers with a unit of Kubernetes or of time are the ones that nobody takes for numbers.
  isPlain = text: match "([.]/)?[A-Za-z/_][A-Za-z0-9/_.@=+-]*|([0-9]+(h|m|s|Ki|Mi|Gi|Ti))+" text != null && !(elem text reserved);

  lines = text: filter isString (split "\n" text);
  isBlock = text:
    stringLength text > 1 && stringLength text < 20000
    && substring (stringLength text - 1) 1 text == "\n"
    && substring (stringLength text - 2) 1 text != "\n"
    && match "[^ \n].*" (substring 0 1 text) != null
    && replaceStrings [ "\t" "\r" ] [ "" "" ] text == text;

  scalar = value:
    if value == null then "null"
    else if isBool value then (if value then "true" else "false")
    else if isInt value then toString value
    else if isString value then (if isPlain value then value else toJSON value)
    else throw "YAML of a ${typeOf value} is not written";

  isScalar = value: !(isAttrs value || isList value) || value == { } || value == [ ];
  inline = value: if value == { } then "{}" else if value == [ ] then "[]" else scalar value;

  isText = value: isString value && isBlock value;
  # The part of a value that begins on the line of its key.
  after = depth: value:
    if isText value then " |\n${concatStringsSep "\n" (map (line: if line == "" then "" else indent depth + line) (lines (substring 0 (stringLength value - 1) value)))}"
    else if isScalar value then " ${inline value}"
    else "\n${block depth value}";

  entry = depth: value: name: "${scalar name}:${after (depth + 1) value.${name}}";

  block = depth: value:
    if isAttrs value then concatStringsSep "\n" (map (name: indent depth + entry depth value name) (attrNames value))
    else concatStringsSep "\n" (map (item: indent depth + element depth item) value);

  # The first key of a set stands beside the dash.
  element = depth: item:
    if isAttrs item && item != { } then
      "- " + concatStringsSep "\n${indent (depth + 1)}" (map (entry (depth + 1) item) (attrNames item))
    else if isList item && item != [ ] then "-\n${block (depth + 1) item}"
    else if isText item then "-${after (depth + 1) item}"
    else "- ${inline item}";
in
{
  document = value: "---\n${block 0 value}\n";
  documents = values: concatStringsSep "" (map (value: "---\n${block 0 value}\n") values);
}
