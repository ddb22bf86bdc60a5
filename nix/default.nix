# What other configurations take from us without a flake: `import ./nix { lib = (import <nixpkgs> { }).lib; }`.
# `lib` is nixpkgs' library, or anything with its module system; nothing is fetched and nothing is built.
{ lib }:
let
  core = import ./core;
  inherit (builtins) attrNames isList listToAttrs map readFile;

  evaluate = modules: (lib.evalModules { modules = [ ../modules ] ++ modules; }).config.trysail;
in
{
  inherit (core) chartValues s3Secret sopsGuard;

  # The module for kubenix, and the one that needs the module system alone.
  kubenixModule = ../modules/kubenix.nix;
  module = ../modules;

  # All objects of a configuration.
  objects = modules: builtins.concatLists (builtins.attrValues (evaluate modules).parts);

  # Its files for Flux: by path, their text. Sealed files are copied as they are.
  files = modules:
    builtins.mapAttrs (_: content: if isList content then core.yaml.documents content else readFile content) (evaluate modules).tree;

  # Its Secret, of references, for `trysail secrets seal`; no file of the tree holds it.
  secret = modules: core.yaml.documents (evaluate modules).parts.secrets;

  # Files of a directory of kubenix modules, one by one: `velero.nix` becomes `NAMESPACE/velero`, with its objects.
  # `evaluateObjects` is a function from a list of modules to objects; files whose names begin with `_` are not read.
  perFile = { directory, evaluateObjects, base ? [ ] }:
    let
      isModule = name: builtins.match "[^_].*[.]nix" name != null;
      one = name: {
        name = builtins.head (builtins.match "(.*)[.]nix" name);
        value = core.yaml.documents (evaluateObjects (base ++ [ (directory + "/${name}") ]));
      };
    in
    listToAttrs (map one (builtins.filter isModule (attrNames (builtins.readDir directory))));

  # The page of options.
  optionsPage = import ./lib/options-md.nix (readFile ../modules/introduction.md) (lib.evalModules { modules = [ ../modules ]; }).options;
}
