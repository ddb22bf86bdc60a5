# The image that server, node agent and restores run.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };
in
{
  options.trysail.image = {
    repository = mkOption {
      type = types.nullOr t.image;
      default = null;
      example = "registry.home.arpa/trysail";
      description = "The image, without tag and digest. There is no public one yet: `nix build .#image` makes it.";
    };

    tag = mkOption {
      type = types.nullOr t.tag;
      default = null;
      example = "0.1.0";
      description = "Its tag. The flake sets the version of the module.";
    };

    digest = mkOption {
      type = types.nullOr t.digest;
      default = null;
      example = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
      description = "Its digest. With it, nobody can change what runs without changing this configuration.";
    };

    pullPolicy = mkOption {
      type = types.enum [ "Always" "IfNotPresent" "Never" ];
      default = "IfNotPresent";
      example = "Never";
      description = "When nodes fetch it.";
    };

    pullSecrets = mkOption {
      type = types.listOf t.subdomain;
      default = [ ];
      example = [ "registry" ];
      description = "Secrets with which nodes fetch it.";
    };
  };
}
