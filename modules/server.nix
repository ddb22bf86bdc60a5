# The server: the Deployment that makes, keeps and deletes backups.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };

  # Each is a default of its own: who sets one limit keeps the others.
  resources = {
    requests = { cpu = "50m"; memory = "128Mi"; };
    limits = { cpu = "500m"; memory = "256Mi"; };
  };
in
{
  config.trysail.server.resources = builtins.mapAttrs (_: builtins.mapAttrs (_: lib.mkDefault)) resources;

  options.trysail.server = {
    replicas = mkOption {
      type = types.ints.positive;
      default = 1;
      example = 2;
      description = "Number of servers. One works, the others wait for its Lease.";
    };

    resources = mkOption {
      type = t.resources;
      default = { };
      defaultText = resources;
      example = { requests.memory = "256Mi"; limits.memory = "512Mi"; };
      description = "What the pod asks for and may use.";
    };

    logLevel = mkOption {
      type = types.enum [ "trace" "debug" "info" "warning" "error" ];
      default = "info";
      example = "debug";
      description = "From which level on is logged, by server and node agent.";
    };

    expireLastBackup = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the newest complete backup of a schedule is deleted too when its time is over.";
    };

    escalate = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the server may restore roles with more rights than it has. Without it, such roles and their bindings are listed as not restored.";
    };

    impersonate = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether Restores can be made in the name of a ServiceAccount that they name.";
    };

    nodeSelector = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { "kubernetes.io/arch" = "amd64"; };
      description = "Labels of the nodes on which it may run.";
    };

    tolerations = mkOption {
      type = types.listOf types.attrs;
      default = [ ];
      example = [{ key = "node-role.kubernetes.io/control-plane"; operator = "Exists"; }];
      description = "Taints that it tolerates.";
    };

    affinity = mkOption {
      type = types.attrs;
      default = { };
      example = { nodeAffinity = { }; };
      description = "Where it would rather run.";
    };

    priorityClassName = mkOption {
      type = types.nullOr t.subdomain;
      default = null;
      example = "system-cluster-critical";
      description = "Its priority class.";
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--store-validation-frequency=5m" ];
      description = "Further arguments of `velero server`.";
    };

    extraEnv = mkOption {
      type = types.listOf types.attrs;
      default = [ ];
      example = [{ name = "HTTPS_PROXY"; value = "http://proxy.home.arpa:3128"; }];
      description = "Further variables of its environment.";
    };
  };

  options.trysail.networkPolicy.enable = mkOption {
    type = types.bool;
    default = false;
    example = true;
    description = "Whether NetworkPolicies let server and node agent reach names, the API server and the ports of the stores alone, and let in nothing but requests for metrics and health.";
  };
}
