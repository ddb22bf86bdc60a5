# The same suites on nixpkgs' library and on kubenix themselves, where copies of both are at hand. kubenix is called as its
# own flake calls it; nothing of nixpkgs' packages is needed for objects.
{ nixpkgsLib, kubenix }:
let
  pkgs = { };
  plain = import nixpkgsLib;
  lib = plain.extend (self: _: import (kubenix + "/lib/upstreamables.nix") { lib = self; inherit pkgs; });

  evaluate = { module ? null, modules ? [ module ], ... }@arguments:
    lib.evalModules (plain.recursiveUpdate
      {
        modules = modules ++ [{ _module.args = { inherit pkgs; name = "default"; }; }];
        specialArgs = {
          inherit pkgs;
          kubenix = {
            lib = import (kubenix + "/lib") { inherit lib pkgs; };
            modules = import (kubenix + "/modules");
            evalModules = evaluate;
          };
        };
      }
      (removeAttrs arguments [ "module" "modules" ]));
in
import ./. {
  lib = plain;
  kubenixObjects = modules: (evaluate { modules = [ ../../modules/kubenix.nix ] ++ modules; }).config.kubernetes.objects;
}
