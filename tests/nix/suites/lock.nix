# The lock of the flake names everything that its inputs name, so that nothing is looked up.
_:
let
  inherit (builtins) attrNames attrValues concatMap filter fromJSON isString mapAttrs readFile;
  inherit (fromJSON (readFile ../../../flake.lock)) nodes root;
  inputs = node: nodes.${node}.inputs or { };
  locked = filter (node: node != root) (attrNames nodes);
in
{
  "each input of an input is there" = {
    found = concatMap (node: filter (input: isString input && !(nodes ? ${input})) (attrValues (inputs node))) (attrNames nodes);
    expected = [ ];
  };
  "each input is held by its hash" = {
    found = filter (node: !(nodes.${node}.locked ? rev && nodes.${node}.locked ? narHash && nodes.${node}.locked ? lastModified)) locked;
    expected = [ ];
  };
  # `systems` stands in the arguments of its outputs alone.
  "inputs are ours and those of kubenix" = {
    found = mapAttrs (node: _: attrNames (inputs node)) nodes;
    expected = {
      ${root} = [ "kubenix" "nixpkgs" ];
      flake-compat = [ ];
      kubenix = [ "flake-compat" "nixpkgs" "systems" "treefmt" ];
      nixpkgs = [ ];
      systems = [ ];
      treefmt = [ "nixpkgs" ];
    };
  };
}
