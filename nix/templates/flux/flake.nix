{
  description = "A home whose backups Trysail makes";

  # Where your copy of Trysail is.
  inputs.trysail.url = "git+https://git.home.arpa/trysail";

  outputs = { trysail, ... }: {
    # `nix run .#manifests -- trysail.nix` writes kubernetes/apps/velero below this directory.
    inherit (trysail) apps;
  };
}
