# The namespace, with the label that admits pods which mount directories of nodes.
cfg:
let
  metadata = import ./metadata.nix cfg;
in
if !cfg.createNamespace then [ ] else [
  {
    apiVersion = "v1";
    kind = "Namespace";
    metadata = {
      name = cfg.namespace;
      labels = { "pod-security.kubernetes.io/enforce" = "privileged"; } // cfg.namespaceLabels;
      annotations = metadata.noPrune;
    };
  }
]
