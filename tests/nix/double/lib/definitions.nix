# Definitions of options: a value with the file that it comes from. Conditions, lists of definitions and priorities are
# marks around values, and taken off here.
let
  inherit (builtins) attrNames concatMap filter foldl' isAttrs map mapAttrs;
  kind = value: if isAttrs value then value._type or null else null;

  # The values within marks, each with its priority. The smallest number wins; 100 is that of a value without a mark.
  open = value:
    if kind value == "if" then (if value.condition then open value.content else [ ])
    else if kind value == "merge" then concatMap open value.contents
    else if kind value == "override" then map (inner: inner // { inherit (value) priority; }) (open value.content)
    else [{ inherit value; priority = 100; }];
in
rec {
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };

  # Of all definitions those that count: marks are off, and a smaller priority is not among them.
  winning = definitions:
    let
      opened = concatMap (definition: map (inner: inner // { inherit (definition) file; }) (open definition.value)) definitions;
      best = foldl' (least: one: if one.priority < least then one.priority else least) 10000 opened;
    in
    map (one: { inherit (one) file value; }) (filter (one: one.priority == best) opened);

  # Sets within marks as marks within sets. Conditions stay unread: whoever reads one may need the very set.
  distribute = value:
    if kind value == "merge" then concatMap distribute value.contents
    else if kind value == "if" then map (mapAttrs (_: mkIf value.condition)) (distribute value.content)
    else if kind value == "override" then map (mapAttrs (_: mkOverride value.priority)) (distribute value.content)
    else [ value ];

  # Definitions of sets, with marks distributed.
  sets = concatMap (definition: map (value: { inherit (definition) file; inherit value; }) (distribute definition.value));

  # Those of one name within definitions of sets.
  of = name: concatMap (definition: if definition.value ? ${name} then [{ inherit (definition) file; value = definition.value.${name}; }] else [ ]);

  # All names that sets define, once each.
  names = definitions: attrNames (foldl' (all: definition: all // definition.value) { } definitions);

  path = builtins.concatStringsSep ".";
  # Definitions with their values, which the real library shows as well: what must not be shown is seen here.
  shown = definitions: builtins.concatStringsSep "" (map (definition: "\n- In ${files [ definition ]}: ${text definition.value}") definitions);
  text = value: if builtins.isFunction value then "<function>" else builtins.toJSON value;

  files = definitions: builtins.concatStringsSep ", " (map (definition: "`${toString definition.file}'") definitions);

  # A value of a type from definitions with marks.
  mergeAs = type: loc: definitions: checked type loc (winning definitions);

  # The same, where marks are off already.
  checked = type: loc: definitions:
    let wrong = filter (definition: !(type.check definition.value)) definitions; in
    if wrong == [ ] then type.merge loc definitions
    else throw "A definition for option `${path loc}' is not of type `${type.description}'. Definition values:${shown wrong}";
}
