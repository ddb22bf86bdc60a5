{
  description = "Stands for nixpkgs and for kubenix in tests of our flake; packages are the machine's programs";

  outputs = _:
    let
      double = import ./lib;
      genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
      lib = double // { inherit genAttrs; };
      systems = [ "x86_64-linux" "aarch64-linux" ];

      packagesOf = system:
        let
          packages = {
            inherit lib;
            stdenv.hostPlatform = { inherit system; };
            # Their programs are looked up on PATH.
            jq = "/usr";
            nix = "/usr";
            callPackage = path: arguments:
              let function = import path; in
              function (builtins.intersectAttrs (builtins.functionArgs function) packages // arguments);
            runCommand = name: environment: script: derivation (environment // {
              inherit name system;
              builder = "/bin/sh";
              args = [ "-euc" script ];
              PATH = "/usr/bin:/bin";
            });
            writeText = name: text: packages.runCommand name { inherit text; passAsFile = [ "text" ]; } "cp $textPath $out";
            writeShellScript = name: text: packages.runCommand name { text = "#!/bin/bash\n${text}"; passAsFile = [ "text" ]; } "cp $textPath $out; chmod +x $out";
          };
        in
        packages;
    in
    {
      inherit lib;
      legacyPackages = genAttrs systems packagesOf;
      evalModules = genAttrs systems (_: arguments: lib.evalModules (arguments // { specialArgs.kubenix.modules.k8s = ./kubenix.nix; }));
    };
}
