# What `nix flake check` looks at: the program with its tests, the suites of the modules on real nixpkgs and kubenix, and
# the form of Nix files.
{ kubenix, library, pkgs, trysail }:
let
  suites = import ../tests/nix/real.nix { nixpkgsLib = library; kubenix = toString kubenix; };
  passed = builtins.match ".*test result: ok[.].*" suites.report != null;
  over = name: tool: command: pkgs.runCommand name { nativeBuildInputs = [ tool ]; } "${command} && touch $out";
in
{
  inherit trysail;
  suites = if passed then pkgs.writeText "trysail-suites" suites.report else throw suites.report;
  formatting = over "trysail-formatting" pkgs.nixpkgs-fmt "nixpkgs-fmt --check ${../.}";
  dead-code = over "trysail-dead-code" pkgs.deadnix "deadnix --fail ${../.}";
  lints = over "trysail-lints" pkgs.statix "statix check --config ${../tests/nix} ${../.}";
}
