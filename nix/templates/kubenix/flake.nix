{
  description = "A home whose manifests kubenix renders";

  inputs = {
    # Where your copy of Trysail is.
    trysail.url = "git+https://git.home.arpa/trysail";
    kubenix.follows = "trysail/kubenix";
  };

  outputs = { kubenix, trysail, ... }:
    let
      system = "x86_64-linux";
      rendered = module: (kubenix.evalModules.${system} {
        modules = [ trysail.kubenixModules.default module { kubernetes.addHashLabel = false; } ];
      }).config.kubernetes.resultYAML;
    in
    {
      packages.${system} = {
        velero = rendered ./velero.nix;
        # References alone: `trysail secrets seal` turns them into ciphertext.
        velero-config = rendered ./velero-config.enc.nix;
      };
    };
}
