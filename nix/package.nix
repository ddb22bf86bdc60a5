# The program. It also answers to the names that stock Velero's manifests and charts start.
{ lib, rustPlatform, version }:
let
  root = toString ../. + "/";
  # What the program is made of: neither tests of whole clusters nor anything of Nix.
  parts = [ "agent" "tests" "Cargo.toml" "Cargo.lock" "clippy.toml" "rustfmt.toml" ];
  isPart = path: builtins.elem (builtins.head (lib.splitString "/" (lib.removePrefix root (toString path)))) parts;
in
rustPlatform.buildRustPackage {
  pname = "trysail";
  inherit version;
  src = lib.cleanSourceWith { name = "trysail-source"; src = ../.; filter = path: _: isPart path; };
  cargoLock.lockFile = ../Cargo.lock;

  cargoBuildFlags = [ "--package" "trysail-cli" ];
  # Tests of the whole workspace want more than a sandbox has: `make test` runs them.
  cargoTestFlags = [ "--package" "trysail-repository" "--package" "trysail-api" ];

  postInstall = ''
    ln -s trysail $out/bin/velero
    ln -s trysail $out/bin/velero-restore-helper
  '';

  meta = {
    description = "Backups of Kubernetes volumes that restore";
    license = lib.licenses.asl20;
    mainProgram = "trysail";
    platforms = lib.platforms.linux;
  };
}
