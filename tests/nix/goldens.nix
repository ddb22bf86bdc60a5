# Cases whose whole rendering is kept in golden/: as one file of objects, or as a tree of files. Objects go through kubenix.
{ kubenixObjects, settings, trysail, ... }:
let
  inherit (builtins) attrNames concatMap filter listToAttrs map mapAttrs pathExists readFile sort;
  inherit (import ../../nix/core) yaml;
  cases = import ./cases.nix { inherit settings trysail; };

  # Annotations and the order of objects are kubenix's own matter.
  foreign = [ "kubenix/k8s-version" "kubenix/project-name" ];
  own = object:
    let rest = removeAttrs (object.metadata.annotations or { }) foreign; in
    object // { metadata = removeAttrs object.metadata [ "annotations" ] // (if rest == { } then { } else { annotations = rest; }); };
  key = object: "${object.kind} ${object.metadata.namespace or ""} ${object.metadata.name}";
  ordered = objects: sort (a: b: key a < key b) (map own objects);

  # Definitions are what ../../nix/generated holds; a suite says so once.
  withoutDefinitions = filter (object: object.kind != "CustomResourceDefinition");

  ofObjects = mapAttrs (_: modules: withoutDefinitions (kubenixObjects [ modules ])) cases.objects;
  objectFiles = listToAttrs (map (name: { name = "${name}.yaml"; value = yaml.documents (ordered ofObjects.${name}); }) (attrNames ofObjects));
  treeFiles = listToAttrs (concatMap
    (case:
      let files = trysail.files cases.trees.${case}; in
      concatMap
        (path: if builtins.match ".*/crds[.]yaml" path != null then [ ] else [{ name = "${case}/${path}"; value = files.${path}; }])
        (attrNames files))
    (attrNames cases.trees));
in
rec {
  rendered = objectFiles // treeFiles;
  expected = mapAttrs
    (name: _: let path = ./golden + "/${name}"; in if pathExists path then readFile path else "no such file: make generate writes it")
    rendered;
  objects = ofObjects;
}
