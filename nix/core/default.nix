# From settings to objects, with builtins alone: no nixpkgs, no kubenix, no store. Each file here is one noun.
{
  findings = import ./findings.nix;
  parts = cfg:
    let all = import ./parts.nix cfg; in
    builtins.listToAttrs (map (name: { inherit name; value = all.${name}; }) cfg.emit);
  tree = import ./tree.nix;

  chartValues = import ./chart-values.nix;
  s3Secret = import ./s3-secret.nix;
  sopsGuard = import ./sops-guard.nix;
  yaml = import ./yaml.nix;
  definitions = import ./definitions.nix;
}
