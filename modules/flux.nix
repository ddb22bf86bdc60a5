# The tree of files that Flux reads: kubernetes/apps/NAME with its Kustomizations.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };
in
{
  options.trysail.flux = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the tree has files.";
    };

    workload = mkOption {
      type = types.enum [ "manifests" "helmrelease" ];
      default = "manifests";
      example = "helmrelease";
      description = "Whether server and node agent are our own manifests, with the least rights that suffice, or the stock chart of Velero with our image, which runs as root and as cluster-admin.";
    };

    split = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether there are three Kustomizations, for definitions, workload and settings, each of which waits for the one before, or one for all.";
    };

    basePath = mkOption {
      type = types.str;
      default = "kubernetes/apps/velero";
      example = "clusters/home/velero";
      description = "Directory of the tree in the repository.";
    };

    openebsPath = mkOption {
      type = types.str;
      default = "kubernetes/apps/kube-system/openebs";
      example = "clusters/home/openebs";
      description = "Directory of OpenEBS' tree.";
    };

    namespace = mkOption {
      type = t.label;
      default = "flux-system";
      example = "flux-system";
      description = "Namespace of the Kustomizations.";
    };

    sourceRef = {
      kind = mkOption {
        type = types.enum [ "GitRepository" "OCIRepository" "Bucket" ];
        default = "GitRepository";
        example = "OCIRepository";
        description = "Kind of the source.";
      };
      name = mkOption {
        type = t.subdomain;
        default = "flux-system";
        example = "home-kubernetes";
        description = "Name of the source.";
      };
      namespace = mkOption {
        type = types.nullOr t.label;
        default = null;
        example = "flux-system";
        description = "Its namespace, where it is not that of the Kustomizations.";
      };
    };

    decryptionSecret = mkOption {
      type = types.nullOr t.subdomain;
      default = null;
      example = "sops-age";
      description = "Secret with the age key that opens sealed files; its key ends in `.agekey`. Null where a parent Kustomization sets it.";
    };

    interval = mkOption {
      type = t.duration;
      default = "30m";
      example = "10m";
      description = "How often Flux compares cluster and tree.";
    };

    timeout = mkOption {
      type = t.duration;
      default = "10m";
      example = "5m";
      description = "How long it waits for health.";
    };

    dependsOn = mkOption {
      type = types.listOf t.subdomain;
      default = [ ];
      example = [ "monitoring-crds" ];
      description = "Kustomizations that come before.";
    };

    chart = {
      version = mkOption {
        type = types.str;
        default = "12.x";
        example = "5.4.x";
        description = "Version of Velero's chart, where `workload` is `helmrelease`.";
      };

      repository = mkOption {
        type = t.subdomain;
        default = "vmware-tanzu";
        example = "vmware-tanzu";
        description = "Its HelmRepository, in the namespace of the Kustomizations.";
      };
    };
  };
}
