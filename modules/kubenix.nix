# The thin side towards kubenix: what `trysail` renders becomes typed resources where kubenix knows the kind, so that it is
# checked and can be overridden field by field; the rest becomes objects as they are. Foreign kinds are never registered
# here: a configuration that has them already could not be evaluated any more.
{ config, lib, kubenix, ... }:
let
  inherit (builtins) attrValues concatLists elem elemAt filter foldl' length map split;
  definitions = import ../nix/core/definitions.nix;
  customTypes = import ../nix/lib/openapi.nix { inherit lib; } definitions.crds;
  soft = import ../nix/lib/soft.nix { inherit lib; };
  cfg = config.trysail;

  # Group and version of an object.
  gvk = object:
    let parts = filter builtins.isString (split "/" object.apiVersion); in
    if length parts == 1 then { group = "core"; version = object.apiVersion; }
    else { group = elemAt parts 0; version = elemAt parts 1; };

  core = [ "core" "apps" "networking.k8s.io" "rbac.authorization.k8s.io" "storage.k8s.io" ];
  own = [ "velero.io" "trysail.io" ];
  isTyped = object: let inherit (gvk object) group; in elem group core || cfg.typedResources && elem group own;

  objects = concatLists (attrValues cfg.parts);
  resource = object:
    let inherit (gvk object) group version; in
    { ${group}.${version}.${object.kind}.${object.metadata.name} = soft object; };

  # Kinds and names differ, so sets of four levels never meet below.
  merge = depth: a: b: if depth == 0 then b else a // builtins.mapAttrs (name: value: if a ? ${name} then merge (depth - 1) a.${name} value else value) b;
in
{
  imports = [ ./default.nix kubenix.modules.k8s ];

  config = lib.mkIf cfg.enable {
    kubernetes = {
      customTypes = lib.mkIf cfg.typedResources customTypes;
      api.resources = foldl' (merge 4) { } (map resource (filter isTyped objects));
      objects = filter (object: !(isTyped object)) objects;
    };
  };
}
