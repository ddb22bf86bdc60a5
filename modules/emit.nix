# Where objects go and which of them are rendered.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };
  parts = [ "namespace" "crds" "rbac" "workload" "secrets" "resources" "monitoring" "storage" ];
in
{
  options.trysail = {
    name = mkOption {
      type = t.label;
      default = "velero";
      example = "trysail";
      description = "Name of the Deployment, and of what belongs to the server.";
    };

    namespace = mkOption {
      type = t.label;
      default = "velero";
      example = "backup";
      description = "Namespace of everything that is not cluster-wide.";
    };

    createNamespace = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether the namespace is rendered, with the label that lets the node agent mount the volumes of pods. One of your own needs that label too: `pod-security.kubernetes.io/enforce=privileged`.";
    };

    namespaceLabels = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { team = "home"; };
      description = "Further labels of the namespace.";
    };

    installCRDs = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether the definitions of the kinds of velero.io and trysail.io are rendered.";
    };

    emit = mkOption {
      type = types.listOf (types.enum parts);
      default = parts;
      example = [ "secrets" ];
      description = "The parts that are rendered. One configuration in two files, of which one is sealed as a whole, emits `[ \"secrets\" ]` there and the rest here. The tree of `flux` has all of them but the Secret.";
    };

    typedResources = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether kubenix learns the kinds of velero.io, as `kubernetes.resources.trysailSchedules` and so on, checked against their definitions. Turn it off where your configuration registers them itself.";
    };

    quota = {
      cpu = mkOption {
        type = types.nullOr t.quantity;
        default = null;
        example = "2";
        description = "`limits.cpu` of the ResourceQuota of the namespace. Limits that exceed it are refused here instead of in the cluster; a restore needs room beside them, as much as one node agent.";
      };
      memory = mkOption {
        type = types.nullOr t.quantity;
        default = null;
        example = "4Gi";
        description = "`limits.memory` of that ResourceQuota.";
      };
      nodes = mkOption {
        type = types.ints.positive;
        default = 1;
        example = 3;
        description = "Number of nodes, each of which runs a node agent.";
      };
    };
  };
}
