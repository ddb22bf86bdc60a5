# HelmReleases: the stock chart of Velero with our image, and the provisioner of OpenEBS. `helm.toolkit.fluxcd.io/v2` is
# the only version that Flux still serves.
cfg:
let
  metadata = import ./metadata.nix cfg;
  present = import ./present.nix;
  inherit (builtins) filter map;

  locations = filter (object: object.kind == "BackupStorageLocation") (import ./resources.nix cfg);
  remediation = { remediation.retries = 3; };
  merge = a: b: a // builtins.mapAttrs
    (name: value: if a ? ${name} && builtins.isAttrs a.${name} && builtins.isAttrs value then merge a.${name} value else value)
    b;

  # What charts before 6.5, before 12.1 and to this day do not say. They would drop it in silence, recipients included.
  isInChart = object: !(object.metadata ? annotations || object.spec ? backupSyncPeriod || object.spec.objectStorage ? caCertRef);
  hasLocations = builtins.all isInChart locations;

  location = object: present {
    inherit (object.metadata) name;
    inherit (object.spec) provider accessMode config;
    default = object.spec.default or null;
    credential = object.spec.credential or null;
    validationFrequency = object.spec.validationFrequency or null;
    inherit (object.spec.objectStorage) bucket;
    prefix = object.spec.objectStorage.prefix or null;
  };

  veleroValues = {
    image = present { inherit (cfg.image) repository tag digest; pullPolicy = cfg.image.pullPolicy; imagePullSecrets = cfg.image.pullSecrets; };
    # Definitions come from Flux or from the chart's `crds`; the hook would run a foreign shell inside our image.
    upgradeCRDs = false;
    cleanUpCRDs = false;
    snapshotsEnabled = false;
    backupsEnabled = hasLocations;
    initContainers = [ ];
    configuration = {
      backupStorageLocation = if hasLocations then map location locations else [ ];
      volumeSnapshotLocation = [ ];
      inherit (cfg) uploaderType;
    };
    credentials = { useSecret = true; existingSecret = cfg.credentials.secretName; };
    deployNodeAgent = cfg.agent.enable;
    nodeAgent = present { inherit (cfg.agent) nodeSelector podVolumePath priorityClassName resources tolerations; };
    metrics = {
      enabled = cfg.monitoring.enable;
      serviceMonitor = { enabled = cfg.monitoring.enable; autodetect = false; } // present { additionalLabels = cfg.monitoring.labels; };
    };
  } // present { inherit (cfg.server) affinity nodeSelector priorityClassName resources tolerations; };

  o = cfg.openebs;
  # Classes are ours; the provisioner tells nobody that it runs.
  openebsValues = {
    analytics.enabled = false;
    hostpathClass.enabled = false;
    localpv = present { inherit (o) nodeSelector resources tolerations; } // (
      if o.mode == "node" then { enableLeaderElection = false; }
      else { enableLeaderElection = true; inherit (o) replicas; }
    );
  } // (if o.mode == "node" then { nodeDeployment.enabled = true; } else { });
in
{
  # Whether locations are among the chart's values; else they are objects of their own.
  inherit hasLocations;

  velero = {
    apiVersion = "helm.toolkit.fluxcd.io/v2";
    kind = "HelmRelease";
    metadata = { inherit (metadata.inNamespace "server" cfg.name) name namespace; };
    spec = {
      inherit (cfg.flux) interval;
      chart.spec = {
        chart = "velero";
        inherit (cfg.flux) interval;
        sourceRef = { kind = "HelmRepository"; name = cfg.flux.chart.repository; inherit (cfg.flux) namespace; };
        inherit (cfg.flux.chart) version;
      };
      # Where Flux brings the definitions, the chart does not bring its own.
      install = { crds = if cfg.flux.split then "Skip" else "CreateReplace"; } // remediation;
      upgrade = { crds = if cfg.flux.split then "Skip" else "CreateReplace"; } // remediation;
      values = veleroValues;
    };
  };

  openebs = [
    {
      apiVersion = "source.toolkit.fluxcd.io/v1";
      kind = "OCIRepository";
      metadata = { name = "openebs-localpv"; inherit (o) namespace; };
      spec = {
        inherit (cfg.flux) interval;
        layerSelector = { mediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"; operation = "copy"; };
        ref.tag = o.chart.version;
        inherit (o.chart) url;
      };
    }
    {
      apiVersion = "helm.toolkit.fluxcd.io/v2";
      kind = "HelmRelease";
      metadata = { name = "openebs-localpv"; inherit (o) namespace; };
      spec = {
        inherit (cfg.flux) interval;
        chartRef = { kind = "OCIRepository"; name = "openebs-localpv"; };
        install = remediation;
        upgrade = remediation;
        values = merge openebsValues o.chart.values;
      };
    }
  ];
}
