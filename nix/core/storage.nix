# Storage classes of OpenEBS LocalPV. They are ours and not the chart's, which knows only one.
cfg:
let
  present = import ./present.nix;
  inherit (builtins) attrNames concatStringsSep map;

  # The provisioner reads this text as YAML.
  settings = class: concatStringsSep "\n"
    ([
      "- name: StorageType"
      "  value: \"hostpath\""
      "- name: BasePath"
      "  value: \"${class.basePath}\""
    ] ++ (if class.nodeAffinityLabels == [ ] then [ ] else
    [ "- name: NodeAffinityLabels" "  list:" ] ++ map (label: "    - \"${label}\"") class.nodeAffinityLabels)) + "\n";

  storageClass = name:
    let class = cfg.openebs.classes.${name};
    in {
      apiVersion = "storage.k8s.io/v1";
      kind = "StorageClass";
      metadata = {
        inherit name;
        annotations = present {
          "cas.openebs.io/config" = settings class;
          "openebs.io/cas-type" = "local";
          "storageclass.kubernetes.io/is-default-class" = if class.isDefault then "true" else null;
        };
      };
      provisioner = "openebs.io/local";
      inherit (class) reclaimPolicy;
      volumeBindingMode = "WaitForFirstConsumer";
    };
in
if !cfg.openebs.enable then [ ] else map storageClass (attrNames cfg.openebs.classes)
