# OpenEBS LocalPV: storage classes over directories of nodes, and the provisioner's HelmRelease.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };

  class = {
    options = {
      isDefault = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether claims that name no class get this one.";
      };

      device = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether volumes shall lie on a disk of their own. OpenEBS 4 has no device mode any more: mount the disk on `basePath`.";
      };

      basePath = mkOption {
        type = t.absolutePath;
        default = "/var/openebs/local";
        example = "/mnt/disk1";
        description = "The directory of each node in which volumes lie.";
      };

      reclaimPolicy = mkOption {
        type = types.enum [ "Delete" "Retain" ];
        default = "Delete";
        example = "Retain";
        description = "What becomes of a volume whose claim is deleted.";
      };

      nodeAffinityLabels = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "openebs.io/node" ];
        description = "Labels of nodes that volumes remember instead of the node's name.";
      };
    };
  };

  # Each is a default of its own: who sets one limit keeps the others.
  resources = {
    requests = { cpu = "50m"; memory = "128Mi"; };
    limits = { memory = "500Mi"; };
  };
in
{
  config.trysail.openebs.resources = builtins.mapAttrs (_: builtins.mapAttrs (_: lib.mkDefault)) resources;

  options.trysail.openebs = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the classes and, for Flux, the provisioner are rendered. Their base paths are mounted into the node agent.";
    };

    namespace = mkOption {
      type = t.label;
      default = "kube-system";
      example = "openebs";
      description = "Namespace of the provisioner.";
    };

    classes = mkOption {
      type = types.attrsOf (types.submodule class);
      default = { openebs-localpv-hostpath = { isDefault = true; }; };
      example = { openebs-localpv-device = { device = true; basePath = "/mnt/disk1"; }; };
      description = "Storage classes, by name.";
    };

    mode = mkOption {
      type = types.enum [ "deployment" "node" ];
      default = "deployment";
      example = "node";
      description = "Whether the provisioner is a Deployment with an elected leader, or runs on every node.";
    };

    replicas = mkOption {
      type = types.ints.positive;
      default = 3;
      example = 1;
      description = "Number of provisioners in mode `deployment`.";
    };

    resources = mkOption {
      type = t.resources;
      default = { };
      defaultText = resources;
      example = { limits.memory = "256Mi"; };
      description = "What each provisioner asks for and may use.";
    };

    nodeSelector = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { storage = "yes"; };
      description = "Labels of the nodes on which provisioners run.";
    };

    tolerations = mkOption {
      type = types.listOf types.attrs;
      default = [ ];
      example = [{ operator = "Exists"; }];
      description = "Taints that they tolerate.";
    };

    chart = {
      url = mkOption {
        type = types.str;
        default = "oci://ghcr.io/openebs/charts/localpv-provisioner";
        example = "oci://registry.home.arpa/charts/localpv-provisioner";
        description = "The provisioner's chart.";
      };

      version = mkOption {
        type = types.str;
        default = "4.6.0";
        example = "4.5.1";
        description = "Its version.";
      };

      values = mkOption {
        type = types.attrs;
        default = { };
        example = { imagePullSecrets = [{ name = "registry"; }]; };
        description = "Further values of the chart.";
      };
    };
  };
}
