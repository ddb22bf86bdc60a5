# The tree for Flux: by path, objects to write as YAML, or a sealed file to copy.
cfg:
let
  parts = import ./parts.nix cfg;
  chart = import ./chart.nix cfg;
  guard = import ./sops-guard.nix;
  inherit (builtins) attrNames concatLists filter listToAttrs map;
  f = cfg.flux;

  isHelm = f.workload == "helmrelease";
  ofKind = kind: filter (object: object.kind == kind) parts.resources;

  kustomization = name: directory: spec: {
    apiVersion = "kustomize.toolkit.fluxcd.io/v1";
    kind = "Kustomization";
    metadata = { inherit name; inherit (f) namespace; };
    spec = {
      inherit (f) interval timeout;
      path = "./${directory}";
      sourceRef = { inherit (f.sourceRef) kind name; }
        // (if f.sourceRef.namespace == null then { } else { inherit (f.sourceRef) namespace; });
    } // spec;
  };
  after = names: if names == [ ] then { } else { dependsOn = map (name: { inherit name; }) names; };
  decrypting = if f.decryptionSecret == null then { } else {
    decryption = { provider = "sops"; secretRef.name = f.decryptionSecret; };
  };

  # What must be healthy before settings follow. `wait` would take the place of these.
  workloadHealth =
    if isHelm then [{ apiVersion = "helm.toolkit.fluxcd.io/v2"; kind = "HelmRelease"; inherit (cfg) name namespace; }]
    else [{ apiVersion = "apps/v1"; kind = "Deployment"; inherit (cfg) name namespace; }]
      ++ (if !cfg.agent.enable then [ ] else [{ apiVersion = "apps/v1"; kind = "DaemonSet"; inherit (cfg.agent) name; inherit (cfg) namespace; }]);
  locationHealth = [{
    apiVersion = "velero.io/v1";
    kind = "BackupStorageLocation";
    current = "status.phase == 'Available'";
    failed = "status.phase == 'Unavailable'";
  }];

  # A directory with its kustomization.yaml. Files without objects are left out.
  directory = path: namespace: files:
    let
      names = filter (name: files.${name} != [ ]) (attrNames files);
      index = {
        apiVersion = "kustomize.config.k8s.io/v1beta1";
        kind = "Kustomization";
        resources = map (name: "./${name}") names;
      } // (if namespace == null then { } else { inherit namespace; });
    in
    { "${path}/kustomization.yaml" = [ index ]; }
    // listToAttrs (map (name: { name = "${path}/${name}"; value = files.${name}; }) names);

  sealed = listToAttrs (map (path: { name = baseNameOf (toString path); value = guard.file path; }) cfg.credentials.sopsFiles);

  definitions = { "crds.yaml" = parts.crds; };
  workload = {
    "namespace.yaml" = parts.namespace;
    "monitoring.yaml" = parts.monitoring;
  } // sealed // (
    if isHelm then { "helmrelease.yaml" = [ chart.velero ]; }
    else { "rbac.yaml" = parts.rbac; "workload.yaml" = parts.workload; }
  );
  settings = {
    "schedule.yaml" = ofKind "Schedule";
    "location.yaml" = if isHelm && chart.hasLocations then [ ] else ofKind "BackupStorageLocation";
  };

  split = {
    "${f.basePath}/ks.yaml" = [
      (kustomization "${cfg.name}-crds" "${f.basePath}/crds" ({ prune = false; wait = true; } // after f.dependsOn))
      (kustomization cfg.name "${f.basePath}/app" ({ prune = true; healthChecks = workloadHealth; } // after [ "${cfg.name}-crds" ] // decrypting))
      (kustomization "${cfg.name}-config" "${f.basePath}/config" ({ prune = true; wait = true; healthCheckExprs = locationHealth; } // after [ cfg.name ]))
    ];
  }
  // directory "${f.basePath}/crds" null definitions
  // directory "${f.basePath}/app" cfg.namespace workload
  // directory "${f.basePath}/config" cfg.namespace settings;

  whole = {
    "${f.basePath}/ks.yaml" = [ (kustomization cfg.name "${f.basePath}/app" ({ prune = true; wait = true; } // after f.dependsOn // decrypting)) ];
  }
  // directory "${f.basePath}/app" cfg.namespace (workload // settings // (if isHelm then { } else definitions));

  openebs = {
    "${f.openebsPath}/ks.yaml" = [ (kustomization "openebs" "${f.openebsPath}/app" ({ prune = true; wait = true; } // after f.dependsOn)) ];
  }
  // directory "${f.openebsPath}/app" null { "helmrelease.yaml" = chart.openebs; "storageclass.yaml" = parts.storage; };

  merged = builtins.foldl' (a: b: a // b) { } (concatLists [
    [ (if f.split then split else whole) ]
    (if cfg.openebs.enable then [ openebs ] else [ ])
  ]);
in
if !f.enable then { } else merged
