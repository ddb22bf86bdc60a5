# By path below .k8s, the text of each module of each namespace.
{ trysail, evaluate }:
let
  ours = import (trysail + "/nix") { lib = import (trysail + "/tests/nix/double/lib"); };
  base = [ ./modules/kubenix/_base.nix ];
  namespaces = [ "backup" ];
  files = namespace: ours.perFile { inherit base; directory = ./modules/kubenix + "/${namespace}"; evaluateObjects = evaluate; };
  named = namespace:
    let all = files namespace; in
    map (name: { name = "${namespace}/${name}.yaml"; value = all.${name}; }) (builtins.attrNames all);
in
builtins.listToAttrs (builtins.concatMap named namespaces)
