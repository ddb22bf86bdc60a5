# What work on Trysail and its deployment needs.
{ pkgs }:
pkgs.mkShell {
  packages = with pkgs; [
    age
    cargo
    clippy
    deadnix
    fluxcd
    go
    jq
    kubectl
    minio-client
    nixpkgs-fmt
    prometheus
    rustc
    rustfmt
    sops
    statix
    vals
    zstd
  ];
}
