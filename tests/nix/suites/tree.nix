# The tree for Flux: which files there are, and what waits for what.
{ evaluate, settings, trysail, ... }:
let
  inherit (builtins) attrNames concatMap elem filter head map;
  inherit (settings) minimal with_;
  tree = extra: (evaluate (with_ { flux = { enable = true; } // extra; })).tree;
  ks = extra: (tree extra)."kubernetes/apps/velero/ks.yaml";
  index = path: extra: (head (tree extra)."kubernetes/apps/velero/${path}/kustomization.yaml").resources;
  order = object: { inherit (object.metadata) name; after = map (dependency: dependency.name) (object.spec.dependsOn or [ ]); inherit (object.spec) path prune; };
in
{
  "nothing is written until Flux is wanted" = { found = (evaluate [ minimal ]).tree; expected = { }; };
  "three Kustomizations follow each other, and the first is never pruned" = {
    found = map order (ks { dependsOn = [ "monitoring-crds" ]; });
    expected = [
      { name = "velero-crds"; after = [ "monitoring-crds" ]; path = "./kubernetes/apps/velero/crds"; prune = false; }
      { name = "velero"; after = [ "velero-crds" ]; path = "./kubernetes/apps/velero/app"; prune = true; }
      { name = "velero-config"; after = [ "velero" ]; path = "./kubernetes/apps/velero/config"; prune = true; }
    ];
  };
  "one Kustomization is that of the documents" = {
    found = ks { split = false; sourceRef.name = "home-kubernetes"; };
    expected = [
      {
        apiVersion = "kustomize.toolkit.fluxcd.io/v1";
        kind = "Kustomization";
        metadata = { name = "velero"; namespace = "flux-system"; };
        spec = {
          interval = "30m";
          path = "./kubernetes/apps/velero/app";
          prune = true;
          sourceRef = { kind = "GitRepository"; name = "home-kubernetes"; };
          wait = true;
          timeout = "10m";
        };
      }
    ];
  };
  "files of the chart's way are those of the documents" = {
    found = index "app" { split = false; workload = "helmrelease"; };
    expected = [ "./helmrelease.yaml" "./namespace.yaml" "./schedule.yaml" ];
  };
  "locations that a chart would shorten are objects of their own" = {
    found = map
      (location:
        let
          all = (evaluate (with_ { flux = { enable = true; workload = "helmrelease"; }; locations.default = location; })).tree;
          values = (head all."kubernetes/apps/velero/app/helmrelease.yaml").spec.values;
        in
        {
          inherit (values) backupsEnabled;
          inValues = builtins.length values.configuration.backupStorageLocation;
          apart = map (object: object.metadata.annotations or { }) (all."kubernetes/apps/velero/config/location.yaml" or [ ]);
        })
      [{ } { recipients = [ "age1a" "age1b" ]; } { syncPeriod = "10m"; } { caCertRef.name = "home-ca"; }];
    expected = [
      { backupsEnabled = true; inValues = 1; apart = [ ]; }
      { backupsEnabled = false; inValues = 0; apart = [{ "trysail.io/recipients" = "age1a,age1b"; }]; }
      { backupsEnabled = false; inValues = 0; apart = [{ }]; }
      { backupsEnabled = false; inValues = 0; apart = [{ }]; }
    ];
  };
  "each file but the Kustomizations stands in the list of its directory" = {
    found =
      let
        all = tree { };
        listed = concatMap (directory: map (name: "kubernetes/apps/velero/${directory}/${builtins.substring 2 (-1) name}") (index directory { })) [ "app" "config" "crds" ];
      in
      filter (path: builtins.match ".*/(ks|kustomization)[.]yaml" path == null && !(elem path listed)) (attrNames all);
    expected = [ ];
  };
  "health is that of the workload, then of the location" = {
    found = map (object: map (check: "${check.kind} ${check.name or ""}") (object.spec.healthChecks or object.spec.healthCheckExprs or [ ])) (ks { });
    expected = [ [ ] [ "Deployment velero" "DaemonSet node-agent" ] [ "BackupStorageLocation " ] ];
  };
  "definitions and the namespace are never pruned, and texts with dollars never substituted" = {
    found =
      let
        all = concatMap (path: filter builtins.isAttrs (tree { })."kubernetes/apps/velero/${path}") [ "crds/crds.yaml" "app/namespace.yaml" ];
        monitored = (evaluate (with_ { flux.enable = true; monitoring.enable = true; })).tree."kubernetes/apps/velero/app/monitoring.yaml";
        unguarded = word: objects: map (object: object.metadata.name) (filter (object: (object.metadata.annotations or { })."kustomize.toolkit.fluxcd.io/${word}" or "" != "disabled") objects);
      in
      {
        prune = unguarded "prune" all;
        substitute = unguarded "substitute" (filter (object: elem object.kind [ "ConfigMap" "PrometheusRule" ]) monitored);
      };
    expected = { prune = [ ]; substitute = [ ]; };
  };
  "a sealed file is copied, and a readable one is refused" = {
    found = map (file: builtins.tryEval (toString (evaluate [ minimal { trysail = { flux.enable = true; credentials.sopsFiles = [ file ]; }; } ]).tree."kubernetes/apps/velero/app/${baseNameOf file}"))
      [ ../inputs/velero-s3-secret.sops.yaml ../inputs/chart-values-2024.json ];
    expected = [
      { success = true; value = toString ../inputs/velero-s3-secret.sops.yaml; }
      { success = false; value = false; }
    ];
  };
  "the Secret is rendered apart, to be sealed" = {
    found = trysail.secret [ minimal settings.references { trysail.flux.enable = true; } ];
    expected = ''
      ---
      apiVersion: v1
      kind: Secret
      metadata:
        labels:
          app.kubernetes.io/component: credentials
          app.kubernetes.io/instance: velero
          app.kubernetes.io/name: trysail
          component: velero
        name: velero-s3-secret
        namespace: velero
      stringData:
        cloud: |
          [default]
          aws_access_key_id = ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id
          aws_secret_access_key = ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key
      type: Opaque
    '';
  };
  "Secrets of references are never written to the tree" = {
    found = filter (path: builtins.isList (tree { }).${path} && builtins.any (object: (object.kind or "") == "Secret") (tree { }).${path})
      (attrNames (evaluate [ minimal settings.references { trysail.flux.enable = true; } ]).tree);
    expected = [ ];
  };
}
