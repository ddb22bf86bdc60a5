# All options of `trysail`, and what they render to. It needs the module system alone: kubenix is met in ./kubenix.nix.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  core = import ../nix/core;
  cfg = config.trysail;
in
{
  imports = [
    ./agent.nix
    ./credentials.nix
    ./emit.nix
    ./encryption.nix
    ./flux.nix
    ./image.nix
    ./locations.nix
    ./monitoring.nix
    ./openebs.nix
    ./schedules.nix
    ./server.nix
  ];

  options.trysail = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether Trysail is rendered.";
    };

    warnings = mkOption {
      type = types.listOf types.str;
      default = [ ];
      internal = true;
      description = "What is allowed and may surprise.";
    };

    errors = mkOption {
      type = types.listOf types.str;
      default = [ ];
      internal = true;
      description = "What is wrong. Nothing is rendered while there is anything.";
    };

    parts = mkOption {
      type = types.attrsOf (types.listOf types.attrs);
      readOnly = true;
      internal = true;
      description = "The rendered objects by part, of the parts in `emit`.";
    };

    tree = mkOption {
      type = types.attrsOf types.raw;
      readOnly = true;
      internal = true;
      description = "The rendered tree for Flux: by path, a list of objects, or the path of a file to copy.";
    };
  };

  config.trysail = {
    warnings = core.findings.warnings cfg;
    errors = core.findings.errors cfg;
    parts = core.findings.enforce cfg (core.parts cfg);
    tree = core.findings.enforce cfg (core.tree cfg);
  };
}
