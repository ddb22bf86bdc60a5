# Stands for kubenix in tests: typed resources that become objects, our kinds checked by the types that we register, and its
# habits that have bitten before: the namespace on every kind, and marks of priority within lists.
{ config, lib, ... }:
let
  inherit (builtins) all attrNames concatMap elemAt filter head isAttrs isList map mapAttrs;
  inherit (lib) mkOption types;
  cfg = config.kubernetes;
  define = import ./lib/definitions.nix;

  # A set in which every leaf is merged by priority; lists are taken whole.
  tree = lib.mkOptionType {
    name = "tree";
    merge = loc: definitions:
      if all (definition: isAttrs definition.value) definitions then (types.attrsOf tree).merge loc definitions
      else (head definitions).value;
  };

  # What is left when marks are off and null is taken for absent.
  plain = value:
    if isList value then map plain value
    else if !isAttrs value then value
    else if value ? _type then plain (head (define.winning [{ file = "list"; inherit value; }])).value
    else let inner = mapAttrs (_: plain) value; in removeAttrs inner (filter (name: inner.${name} == null) (attrNames inner));

  customType = group: version: kind: filter (type: type.group == group && type.version == version && type.kind == kind) cfg.customTypes;

  object = group: version: kind: name:
    let
      given = plain cfg.api.resources.${group}.${version}.${kind}.${name};
      stamped = given // {
        metadata = (if cfg.namespace == null || cfg.api.resources.${group}.${version}.${kind}.${name}.metadata ? namespace then { } else { inherit (cfg) namespace; }) // given.metadata;
      };
      type = customType group version kind;
      loc = [ "kubernetes" "api" "resources" group version kind name "spec" ];
    in
    if type == [ ] then stamped
    else stamped // { spec = plain ((types.submodule (elemAt type 0).module).merge loc [{ file = "resource"; value = given.spec; }]); };

  each = f: set: concatMap (name: f name set.${name}) (attrNames set);
in
{
  options.kubernetes = {
    namespace = mkOption { type = types.nullOr types.str; default = null; description = "Namespace of all objects."; };
    customTypes = mkOption { type = types.listOf types.attrs; default = [ ]; description = "Kinds to learn."; };
    objects = mkOption { type = types.listOf types.attrs; default = [ ]; description = "All objects."; };
    api.resources = mkOption { type = types.attrsOf (types.attrsOf (types.attrsOf (types.attrsOf tree))); default = { }; description = "Typed resources."; };
  };
  config.kubernetes.objects =
    each (group: each (version: each (kind: each (name: _: [ (object group version kind name) ])))) cfg.api.resources;
}
