# The types of options that our modules use, with the words of the real ones, since these stand on the page of options.
{ define, lib }:
let
  inherit (builtins) all concatMap elem elemAt filter foldl' genList head isAttrs isBool isFloat isFunction isInt
    isList isPath isString length listToAttrs map match substring toJSON;
  inherit (lib) mkOptionType;

  noun = name: description: check: mkOptionType { inherit name description check; descriptionClass = "noun"; };
  phrase = classes: type: if elem type.descriptionClass classes then type.description else "(${type.description})";
  single = phrase [ "noun" "composite" ];

  shallow = _: foldl' (all: definition: all // definition.value) { };

  submoduleOf = module: {
    evaluate = loc: definitions: lib.evalModules {
      prefix = loc;
      modules = [ module ] ++ map (definition: { _file = definition.file; config = definition.value; }) definitions
        ++ [{ _module.args.name = elemAt loc (length loc - 1); }];
    };
  };
in
rec {
  unspecified = mkOptionType {
    name = "unspecified";
    description = "unspecified value";
    descriptionClass = "noun";
    merge = loc: definitions:
      if length definitions == 1 then (head definitions).value
      else if all (definition: isAttrs definition.value) definitions then shallow loc definitions
      else (mkOptionType { name = "same"; }).merge loc definitions;
  };
  raw = noun "raw" "raw value" (_: true);
  deferredModule = mkOptionType { name = "deferredModule"; merge = _: definitions: { imports = map (definition: definition.value) definitions; }; };

  bool = noun "bool" "boolean" isBool;
  int = noun "int" "signed integer" isInt;
  number = noun "number" "signed integer or floating point number" (value: isInt value || isFloat value);
  str = noun "str" "string" isString;
  path = noun "path" "absolute path" (value: isPath value || isString value && substring 0 1 value == "/");
  attrs = mkOptionType { name = "attrs"; description = "attribute set"; check = isAttrs; merge = shallow; emptyValue.value = { }; };
  strMatching = pattern: noun "strMatching" "string matching the pattern ${pattern}" (value: isString value && match pattern value != null);
  enum = values: mkOptionType {
    name = "enum";
    description = "one of ${builtins.concatStringsSep ", " (map toJSON values)}";
    descriptionClass = "conjunction";
    check = value: elem value values;
  };

  ints = {
    unsigned = mkOptionType { name = "unsignedInt"; description = "unsigned integer, meaning >=0"; descriptionClass = "nonRestrictiveClause"; check = value: isInt value && value >= 0; };
    positive = mkOptionType { name = "positiveInt"; description = "positive integer, meaning >0"; descriptionClass = "nonRestrictiveClause"; check = value: isInt value && value > 0; };
  };

  nullOr = type: mkOptionType {
    name = "nullOr";
    description = "null or ${phrase [ "noun" "conjunction" ] type}";
    descriptionClass = "conjunction";
    check = value: value == null || type.check value;
    merge = loc: definitions:
      let nulls = filter (definition: definition.value == null) definitions; in
      if nulls == [ ] then type.merge loc definitions
      else if length nulls == length definitions then null
      else throw "The option `${define.path loc}' is both null and not null, in: ${define.files definitions}";
    inherit (type) getSubOptions;
    emptyValue.value = null;
  };

  either = one: other: mkOptionType {
    name = "either";
    description = "${one.description} or ${other.description}";
    descriptionClass = "conjunction";
    check = value: one.check value || other.check value;
    merge = loc: definitions:
      if all (definition: one.check definition.value) definitions then one.merge loc definitions else other.merge loc definitions;
  };

  listOf = type: mkOptionType {
    name = "listOf";
    description = "list of ${single type}";
    descriptionClass = "composite";
    check = isList;
    merge = loc: definitions:
      let
        item = definition: i: { inherit (definition) file; value = elemAt definition.value i; };
        items = concatMap (definition: genList (item definition) (length definition.value)) definitions;
        at = i: loc ++ [ "[definition ${toString (i + 1)}]" ];
        kept = filter (one: one != [ ]) (map (one: define.winning [ one ]) items);
      in
      genList (i: define.checked type (at i) (elemAt kept i)) (length kept);
    getSubOptions = loc: type.getSubOptions (loc ++ [ "*" ]);
    emptyValue.value = [ ];
  };

  attrsOf = type: mkOptionType {
    name = "attrsOf";
    description = "attribute set of ${single type}";
    descriptionClass = "composite";
    check = isAttrs;
    merge = loc: definitions:
      let
        sets = define.sets definitions;
        value = name: define.winning (define.of name sets);
        kept = filter (name: value name != [ ]) (define.names sets);
      in
      listToAttrs (map (name: { inherit name; value = define.checked type (loc ++ [ name ]) (value name); }) kept);
    getSubOptions = loc: type.getSubOptions (loc ++ [ "<name>" ]);
    emptyValue.value = { };
  };

  submodule = module: mkOptionType {
    name = "submodule";
    description = "submodule";
    check = value: isAttrs value || isFunction value || isPath value;
    merge = loc: definitions: removeAttrs ((submoduleOf module).evaluate loc definitions).config [ "_module" ];
    getSubOptions = loc: ((submoduleOf module).evaluate (loc ++ [ "<name>" ]) [ ]).options;
    emptyValue.value = { };
  };
}
