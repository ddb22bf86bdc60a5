# The definitions of all kinds, as the program prints them. ../generated holds them as JSON.
let
  directory = ../generated;
  isDefinition = name: builtins.match ".*[.]io[.]json" name != null;
  names = builtins.filter isDefinition (builtins.attrNames (builtins.readDir directory));
  crds = map (name: builtins.fromJSON (builtins.readFile (directory + "/${name}"))) names;
in
{
  inherit crds;

  render = cfg:
    let metadata = import ./metadata.nix cfg;
    in if !cfg.installCRDs then [ ]
    else map (crd: crd // { metadata = crd.metadata // { annotations = metadata.noPrune // metadata.noSubstitution; }; }) crds;
}
