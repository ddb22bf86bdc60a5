# The page of all options, from their declarations.
let
  inherit (builtins) attrNames concatMap concatStringsSep elem filter foldl' isAttrs isBool isInt isList isString match replaceStrings toJSON;

  literal = value:
    if value == null then "null"
    else if isBool value then (if value then "true" else "false")
    else if isInt value then toString value
    else if isString value then toJSON value
    else if isList value then (if value == [ ] then "[ ]" else "[ ${concatStringsSep " " (map literal value)} ]")
    else if value == { } then "{ }"
    else "{ ${concatStringsSep " " (map (name: "${key name} = ${literal value.${name}};") (attrNames value))} }";
  key = name: if match "[A-Za-z_][A-Za-z0-9_-]*" name != null then name else toJSON name;

  isOption = value: isAttrs value && (value._type or null) == "option";

  # Options of a set of declarations and, below each, those of the submodule that is its type.
  flatten = path: set: concatMap
    (name:
      let value = set.${name}; loc = path ++ [ name ]; in
      if name == "_module" then [ ]
      else if isOption value then
        (if value.internal or false then [ ] else [ (value // { inherit loc; }) ]
          ++ below loc value.type)
      else if isAttrs value then flatten loc value
      else [ ])
    (attrNames set);
  below = loc: type:
    let
      inner = type.getSubOptions loc;
      level = if elem (type.name or "") [ "attrsOf" "lazyAttrsOf" ] then [ "<name>" ] else [ ];
    in
    flatten (loc ++ level) inner;

  # Where the default is merged with what is set, what it is stands in `defaultText`.
  default = option: if option ? defaultText then "default `${literal option.defaultText}`" else if option ? default then "default `${literal option.default}`" else "required";
  example = option: if option ? example && (option.default or null) != option.example then " Example: `${literal option.example}`." else "";
  describe = option: "- `${concatStringsSep "." option.loc}` (${option.type.description}; ${default option}): ${option.description}${example option}";

  runbook = alert: ''
    ### ${alert.alert}

    ${alert.summary'} (${alert.severity}, after ${alert.for}).

    ${alert.runbook}
  '';
  plain = alert: alert // { summary' = replaceStrings [ "{{ $labels." "{{ $value | humanizeDuration }}" "{{ $value }}" " }}" ] [ "`" "some time" "some" "`" ] alert.summary; };
  alerts = import ../core/alerts.nix { namespace = "velero"; agent = "node-agent"; staleAfter = "26h"; };

  # One section for each file of modules/, by the first word below `trysail`.
  section = options: word:
    let mine = filter (option: builtins.elemAt option.loc 1 == word) options;
    in "## ${word}\n\n${concatStringsSep "\n" (map describe mine)}\n";
  words = options: foldl' (seen: option: let word = builtins.elemAt option.loc 1; in if elem word seen then seen else seen ++ [ word ]) [ ] options;
in
intro: options:
let all = flatten [ "trysail" ] options.trysail; in
concatStringsSep "\n" (
  [ intro ]
  ++ map (section all) (words all)
  ++ [ "## Alerts\n\nWhat each means and what to do. Their texts and expressions are in `nix/core/alerts.nix`.\n" ]
  ++ map (alert: runbook (plain alert)) alerts
)
