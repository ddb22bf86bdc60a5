{
  description = "Backups of Kubernetes volumes that restore: modules for kubenix and Flux, the program, and its image";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    kubenix = { url = "github:hall/kubenix"; inputs.nixpkgs.follows = "nixpkgs"; };
  };

  outputs = { self, nixpkgs, kubenix }:
    let
      inherit (nixpkgs) lib;
      inherit ((builtins.fromTOML (builtins.readFile ./Cargo.toml)).workspace.package) version;
      modules = import ./nix { inherit lib; };
      # Whoever takes the module through the flake gets the image of its version.
      tagged = { lib, ... }: { trysail.image.tag = lib.mkDefault version; };

      perSystem = f: lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: f nixpkgs.legacyPackages.${system});
      app = program: { type = "app"; inherit program; };
    in
    {
      kubenixModules = {
        module = ./modules/kubenix.nix;
        default.imports = [ ./modules/kubenix.nix tagged ];
      };

      lib = modules // {
        files = settings: modules.files ([ tagged ] ++ settings);
        objects = settings: modules.objects ([ tagged ] ++ settings);
        secret = settings: modules.secret ([ tagged ] ++ settings);
        kubenixObjects = system: settings:
          (kubenix.evalModules.${system} { modules = [ self.kubenixModules.default ] ++ settings; }).config.kubernetes.objects;
      };

      overlays.default = final: _: { trysail = final.callPackage ./nix/package.nix { inherit version; }; };

      packages = perSystem (pkgs: rec {
        default = trysail;
        trysail = pkgs.callPackage ./nix/package.nix { inherit version; };
        trysail-static = pkgs.pkgsStatic.callPackage ./nix/package.nix { inherit version; };
        image = pkgs.callPackage ./nix/image.nix { inherit version; trysail = trysail-static; };
        crds = pkgs.runCommand "trysail-crds" { } "mkdir $out && cp ${./nix/generated}/*.io.json $out";
        docs = pkgs.writeText "trysail-options.md" self.lib.optionsPage;
        manifests-example = pkgs.callPackage ./nix/manifests.nix { files = self.lib.files [ ./nix/templates/flux/trysail.nix ]; };
      });

      apps = perSystem (pkgs: {
        manifests = app (toString (pkgs.callPackage ./nix/manifests-app.nix { inherit version; source = self; library = nixpkgs + "/lib"; }));
        seal = app (toString (pkgs.writeShellScript "seal" ''exec ${self.packages.${pkgs.stdenv.hostPlatform.system}.trysail}/bin/trysail secrets seal "$@"''));
      });

      templates = {
        kubenix = { path = ./nix/templates/kubenix; description = "Trysail among modules of kubenix, with a Secret that is sealed"; };
        flux = { path = ./nix/templates/flux; description = "Trysail as a tree of files for Flux"; };
      };

      checks = perSystem (pkgs: import ./nix/checks.nix { inherit pkgs kubenix; library = nixpkgs + "/lib"; inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) trysail; });
      devShells = perSystem (pkgs: { default = import ./nix/shell.nix { inherit pkgs; }; });
      formatter = perSystem (pkgs: pkgs.nixpkgs-fmt);
    };
}
