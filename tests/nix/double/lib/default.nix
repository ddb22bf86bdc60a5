# Stands for nixpkgs' library in tests: its module system as far as our modules use it, with builtins alone. Where the real
# library is at hand, the same tests run on both and must agree; what is missing here fails loudly.
let
  define = import ./definitions.nix;
  inherit (define) mkIf mkMerge mkOverride;
  modules = import ./modules.nix { inherit define lib; };
  lib = {
    inherit mkIf mkMerge mkOverride;
    inherit (modules) evalModules;
    mkOption = attributes: attributes // { _type = "option"; };
    mkForce = mkOverride 50;
    mkDefault = mkOverride 1000;
    mkOptionType = import ./option-type.nix { inherit define; };
    types = import ./types.nix { inherit define lib; };
  };
in
lib
