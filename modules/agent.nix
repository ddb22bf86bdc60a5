# The node agent: the DaemonSet that reads volumes on their nodes.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };

  # Each is a default of its own: who sets one limit keeps the others.
  resources = {
    requests = { cpu = "50m"; memory = "64Mi"; };
    limits = { cpu = "500m"; memory = "256Mi"; };
  };
in
{
  config.trysail.agent.resources = builtins.mapAttrs (_: builtins.mapAttrs (_: lib.mkDefault)) resources;

  options.trysail.agent = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether it runs. Without it no file of any volume is backed up.";
    };

    name = mkOption {
      type = t.label;
      default = "node-agent";
      example = "restic";
      description = "Name of the DaemonSet, and label `name` of its pods.";
    };

    podVolumePath = mkOption {
      type = t.absolutePath;
      default = "/var/lib/kubelet/pods";
      example = "/var/lib/k0s/kubelet/pods";
      description = "Where the kubelet mounts the volumes of pods.";
    };

    hostPaths = mkOption {
      type = types.listOf t.absolutePath;
      default = [ ];
      example = [ "/var/openebs/local" ];
      description = "Base paths of local volumes. They are mounted read-only, so that claims can be read that no pod mounts.";
    };

    resources = mkOption {
      type = t.resources;
      default = { };
      defaultText = resources;
      example = { limits.cpu = "1"; };
      description = "What each pod asks for and may use.";
    };

    concurrency = mkOption {
      type = types.nullOr types.ints.positive;
      default = null;
      example = 1;
      description = "How many volumes each reads at once, with some 50 MiB of memory each; two where null.";
    };

    uploadRate = mkOption {
      type = types.nullOr types.ints.positive;
      default = null;
      example = 5000000;
      description = "Bytes that each sends in a second at most; no limit where null.";
    };

    scratchSize = mkOption {
      type = t.quantity;
      default = "1Gi";
      example = "4Gi";
      description = "The most that it may keep on the node's disk while it works.";
    };

    nodeSelector = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { storage = "yes"; };
      description = "Labels of the nodes on which it runs.";
    };

    tolerations = mkOption {
      type = types.listOf types.attrs;
      default = [{ operator = "Exists"; }];
      example = [ ];
      description = "Taints that it tolerates: all, since a node without it is a node without backups.";
    };

    priorityClassName = mkOption {
      type = types.nullOr t.subdomain;
      default = null;
      example = "system-node-critical";
      description = "Its priority class.";
    };

    maxUnavailable = mkOption {
      type = types.ints.positive;
      default = 1;
      example = 3;
      description = "On how many nodes at a time it is replaced.";
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--log-format=text" ];
      description = "Further arguments of `velero node-agent server`.";
    };

    extraEnv = mkOption {
      type = types.listOf types.attrs;
      default = [ ];
      example = [{ name = "HTTPS_PROXY"; value = "http://proxy.home.arpa:3128"; }];
      description = "Further variables of its environment.";
    };
  };

  options.trysail.uploaderType = mkOption {
    type = types.enum [ "kopia" "restic" ];
    default = "kopia";
    example = "restic";
    description = "The directory of the bucket in which repositories lie. The engine is the same for both.";
  };
}
