# Whole configurations: those of the documents that Trysail was asked for with, the least one, and one with everything.
{ settings, trysail }:
let
  inherit (settings) minimal references;
  inherit (trysail) chartValues s3Secret;
  readJSON = path: builtins.fromJSON (builtins.readFile path);

  sealed = { trysail.credentials.sopsFiles = [ ./inputs/velero-s3-secret.sops.yaml ]; };
  ours = { trysail = { enable = true; inherit (settings) image; }; };
  base = { inherit (settings) image; enable = true; };

  # A Flux tree of 2024: Velero's chart with restic, one Kustomization, a Schedule of its own.
  homeKubernetes = {
    trysail = {
      flux = { enable = true; split = false; sourceRef.name = "home-kubernetes"; };
      schedules.daily-backup = { schedule = "0 2 * * *"; includedNamespaces = [ "monitoring" "database" "network" ]; };
    };
  };
  fromChart = values: { trysail = (chartValues values).settings; };

  everything = {
    trysail = base // {
      image = settings.image // { inherit (settings) digest; pullPolicy = "Always"; pullSecrets = [ "registry" ]; };
      name = "trysail";
      namespace = "backup";
      namespaceLabels = { team = "home"; };
      quota = { cpu = "4"; memory = "4Gi"; nodes = 3; };
      encryption.recipients = [
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
        "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td"
      ];
      locations = {
        default = {
          bucket = "backup";
          prefix = "home";
          endpoint = "https://minio.home.arpa:9000";
          publicEndpoint = "https://minio.home.arpa";
          caCertRef = { name = "home-ca"; };
          validationFrequency = "1h";
          syncPeriod = "10m";
        };
        offsite = {
          bucket = "offsite-backup";
          region = "eu-central-1";
          forcePathStyle = false;
          accessMode = "ReadOnly";
          credential = { name = "offsite-s3"; };
          config = { profile = "reader"; };
          recipients = [ ];
        };
      };
      schedules = {
        hourly = {
          schedule = "7 * * * *";
          jitter = "5m";
          skipImmediately = true;
          includedNamespaces = [ "database" ];
          excludedResources = [ "events" "events.events.k8s.io" ];
          labelSelector = { matchLabels.tier = "home"; };
          includeClusterResources = false;
          backupLabels = { tier = "home"; };
          hooks.resources = [{ name = "freeze"; includedNamespaces = [ "database" ]; pre = [{ exec = { command = [ "/bin/sync" ]; onError = "Fail"; timeout = "1m"; }; }]; }];
          template = { itemOperationTimeout = "4h"; };
        };
        kept = {
          schedule = "30 4 * * *";
          timeZone = "Europe/Berlin";
          drill = "0 12 * * 0";
          paused = true;
          volumes = "annotated";
          excludedNamespaces = [ "kube-system" ];
          keep = { daily = 7; weekly = 4; monthly = 6; };
        };
      };
      server = {
        replicas = 2;
        logLevel = "debug";
        expireLastBackup = true;
        escalate = true;
        impersonate = true;
        nodeSelector = { "kubernetes.io/arch" = "amd64"; };
        tolerations = [{ key = "node-role.kubernetes.io/control-plane"; operator = "Exists"; }];
        priorityClassName = "system-cluster-critical";
        extraArgs = [ "--store-validation-frequency=5m" ];
        extraEnv = [{ name = "HTTPS_PROXY"; value = "http://proxy.home.arpa:3128"; }];
      };
      agent = {
        podVolumePath = "/var/lib/k0s/kubelet/pods";
        hostPaths = [ "/srv/volumes" ];
        scratchSize = "4Gi";
        maxUnavailable = 2;
        nodeSelector = { storage = "yes"; };
        priorityClassName = "system-node-critical";
      };
      networkPolicy.enable = true;
      monitoring = {
        enable = true;
        interval = "1m";
        labels = { release = "kube-prometheus-stack"; };
        rules = { staleAfter = "50h"; runbookUrl = "https://git.home.arpa/trysail/modules/README.md"; extra = [{ alert = "Mine"; expr = "vector(1)"; }]; };
        dashboard.folder = "Backups";
      };
      openebs = {
        enable = true;
        classes = {
          openebs-localpv-hostpath = { isDefault = true; };
          openebs-localpv-device = { device = true; basePath = "/mnt/disk1"; reclaimPolicy = "Retain"; nodeAffinityLabels = [ "openebs.io/node" ]; };
        };
      };
    };
  };

  # What a user changes in rendered objects, without `mkForce`.
  overridden = {
    kubernetes.api.resources = {
      apps.v1.Deployment.velero.spec.replicas = 2;
      core.v1.ServiceAccount.velero.metadata.labels.team = "home";
      "velero.io".v1.Schedule.daily.spec.template.ttl = "24h";
    };
  };
in
{
  objects = {
    inherit everything minimal;
    overridden = { imports = [ minimal overridden ]; };
    secrets = { imports = [ minimal references { trysail.emit = [ "secrets" ]; } ]; };
    disabled = { trysail.enable = false; };
    namespaced = { imports = [ minimal { kubernetes.namespace = "elsewhere"; } ]; };
  };

  trees = {
    flux = [
      minimal
      sealed
      { trysail = { flux = { enable = true; decryptionSecret = "sops-age"; dependsOn = [ "monitoring-crds" ]; }; monitoring.enable = true; }; }
    ];
    chart-of-2024 = [ ours homeKubernetes sealed (fromChart (readJSON ./inputs/chart-values-2024.json)) { trysail.flux = { workload = "helmrelease"; chart.version = "5.4.x"; }; } ];
    chart-of-2024-as-manifests = [ ours homeKubernetes sealed (fromChart (readJSON ./inputs/chart-values-2024.json)) ];
    openebs = [
      ours
      {
        trysail = (s3Secret {
          S3_ACCESS_KEY_ID = "ref+sops://secrets/k8s-secrets.enc.yaml#s3_access_key_id";
          S3_SECRET_ACCESS_KEY = "ref+sops://secrets/k8s-secrets.enc.yaml#s3_secret_access_key";
          S3_ENDPOINT = "https://s3.68cc.io";
          S3_BUCKET = "openebs-backups";
        }).settings;
      }
      {
        trysail = {
          flux = { enable = true; basePath = "kubernetes/apps/storage/velero"; };
          schedules.daily = { schedule = "0 2 * * *"; ttl = "720h"; };
          openebs = {
            enable = true;
            classes = {
              openebs-localpv-hostpath = { isDefault = true; };
              openebs-localpv = { };
              openebs-localpv-device = { device = true; basePath = "/mnt/disk1"; };
            };
          };
        };
      }
    ];
    openebs-on-every-node = [ minimal { trysail = { flux.enable = true; openebs = { enable = true; mode = "node"; chart.values = { localpv.image.tag = "4.6.0"; }; }; }; } ];
  };
}
