# Templates are configurations that nothing is wrong with.
{ evaluate, objects, ... }:
let
  root = ../../../nix/templates;
  files = [ (root + "/flux/trysail.nix") (root + "/kubenix/velero.nix") (root + "/kubenix/velero-config.enc.nix") ];
in
{
  "no template has errors" = {
    found = builtins.concatMap (file: (evaluate [ file ]).errors) files;
    expected = [ ];
  };
  "what is sealed is the Secret alone, and nothing else has it" = {
    found = map (file: builtins.any (object: object.kind == "Secret") (objects [ file ])) files ++ map (object: object.kind) (objects [ (builtins.elemAt files 2) ]);
    expected = [ false false true "Secret" ];
  };
}
