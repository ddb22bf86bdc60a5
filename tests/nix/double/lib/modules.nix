# Evaluation of modules: their declarations become one tree of options, their definitions the values of these.
{ define, lib }:
let
  inherit (builtins) concatMap elem filter foldl' functionArgs head isAttrs isFunction isPath isString length map
    mapAttrs substring;
  isOption = value: isAttrs value && (value._type or null) == "option";

  # `_module.args` is what modules hand to each other by name.
  arguments = { options._module.args = lib.mkOption { type = lib.types.attrsOf lib.types.unspecified; default = { }; internal = true; }; };

  # One tree of many, down to the options.
  overlay = foldl' (a: b: a // mapAttrs (name: value: if a ? ${name} && isAttrs value && !(isOption value) then overlay [ a.${name} value ] else value) b) { };

  evalModules = { modules, specialArgs ? { }, prefix ? [ ] }:
    let
      known = { inherit lib config options; } // specialArgs;
      # A function gets what it names, and nothing is looked up that it does not name.
      call = function: function (known // mapAttrs (name: _: known.${name} or config._module.args.${name}) (functionArgs function));

      # A module and those that it imports, flat.
      load = file: module:
        let
          isFile = isPath module || isString module && substring 0 1 module == "/";
          source = if isFile then import module else module;
          content = if isFunction source then call source else source;
          place = content._file or (if isFile then toString module else file);
          # With `config` or `options`, definitions stand in `config`; without both, the module is one.
          definition = if content ? config || content ? options then content.config or { } else removeAttrs content [ "_file" "imports" ];
        in
        concatMap (load place) (content.imports or [ ]) ++ [{
          file = place;
          key = if isFile then toString module else null;
          options = content.options or { };
          inherit definition;
        }];
      # A file that is imported twice is one module.
      once = foldl' (seen: module: if module.key != null && elem module.key (map (m: m.key) seen) then seen else seen ++ [ module ]) [ ];
      loaded = once (concatMap (load "<unknown>") (modules ++ [ arguments ]));

      options = overlay (map (module: module.options) loaded);

      valueOf = loc: option: definitions:
        let
          all = definitions ++ (if option ? default then [{ file = "<default>"; value = define.mkOverride 1500 option.default; }] else [ ]);
          winners = define.winning all;
        in
        if option.readOnly or false && length definitions > 1 then throw "The option `${define.path loc}' is read-only, and defined more than once"
        else if winners != [ ] then define.checked option.type loc winners
        else option.type.emptyValue.value or (throw "The option `${define.path loc}' was accessed but has no value defined. Try setting the option.");

      configOf = loc: tree: definitions:
        if isOption tree then valueOf loc tree definitions
        else
          let
            sets = define.sets definitions;
            stray = filter (name: !(tree ? ${name})) (define.names sets);
            values = mapAttrs (name: below: configOf (loc ++ [ name ]) below (define.of name sets)) tree;
          in
          if stray == [ ] then values
          else throw "The option `${define.path (loc ++ [ (head stray) ])}' does not exist. Definition values: in ${define.files (define.of (head stray) sets)}";
      config = configOf prefix options (map (module: { inherit (module) file; value = module.definition; }) loaded);
    in
    { inherit config options; };
in
{ inherit evalModules; }
