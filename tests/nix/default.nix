# All suites of pure tests. A suite is a set: a sentence, and a pair of what is found and what is expected.
# `lib` and `k8s` are the doubles here, or nixpkgs' library and kubenix' module where these are at hand.
{ lib ? import ./double/lib
, kubenixObjects ? modules:
    (lib.evalModules {
      specialArgs.kubenix.modules.k8s = ./double/kubenix.nix;
      modules = [ ../../modules/kubenix.nix ] ++ modules;
    }).config.kubernetes.objects
}:
let
  inherit (builtins) attrNames concatMap concatStringsSep filter length map toJSON tryEval deepSeq;
  trysail = import ../../nix { inherit lib; };
  settings = import ./settings.nix;

  # The evaluated settings of modules, and the objects of a kind among theirs.
  evaluate = modules: (lib.evalModules { modules = [ ../../modules ] ++ modules; }).config.trysail;
  objects = modules: builtins.concatLists (builtins.attrValues (evaluate modules).parts);
  ofKind = kind: modules: filter (object: object.kind == kind) (objects modules);
  fails = value: !(tryEval (deepSeq value value)).success;

  context = { inherit evaluate fails kubenixObjects lib objects ofKind settings trysail; inherit goldens; };
  goldens = import ./goldens.nix context;

  suites = map (name: { inherit name; tests = import (./suites + "/${name}") context; })
    (filter (name: builtins.match ".*[.]nix" name != null) (attrNames (builtins.readDir ./suites)));

  outcome = suite: name:
    let
      test = suite.tests.${name};
      result = tryEval (deepSeq test.found (test.found == test.expected));
      ok = result.success && result.value;
    in
    {
      inherit ok;
      line = "test ${builtins.head (builtins.match "(.*)[.]nix" suite.name)}: ${name} ... ${if ok then "ok" else "FAILED"}"
        + (if ok then "" else if !result.success then "\n  evaluation fails"
      else "\n  found:    ${toJSON test.found}\n  expected: ${toJSON test.expected}");
    };
  outcomes = concatMap (suite: map (outcome suite) (attrNames suite.tests)) suites;
  failed = filter (one: !one.ok) outcomes;
in
{
  inherit kubenixObjects;

  # By file below golden/, what it should hold by what is rendered now.
  inherit (goldens) rendered;

  report = concatStringsSep "\n" (map (one: one.line) outcomes) + "\n"
    + "test result: ${if failed == [ ] then "ok" else "FAILED"}. ${toString (length outcomes - length failed)} passed; ${toString (length failed)} failed; 0 ignored\n";
}
