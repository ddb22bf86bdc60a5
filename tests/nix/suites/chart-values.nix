# Values of Velero's chart become settings, and what they do not become is said.
{ evaluate, settings, trysail, ... }:
let
  inherit (trysail) chartValues s3Secret;
  of2024 = builtins.fromJSON (builtins.readFile ../inputs/chart-values-2024.json);
  # The plan of a home lab, as written there.
  ofHomeLab = {
    configuration = {
      backupStorageLocation = [{ name = "default"; provider = "aws"; bucket = "homelab-backup-velero"; config = { region = "minio"; s3ForcePathStyle = "true"; s3Url = "http://10.10.10.209:9000"; }; }];
      volumeSnapshotLocation.enabled = false;
    };
    deployNodeAgent = true;
    initContainers = [{ name = "velero-plugin-for-aws"; image = "velero/velero-plugin-for-aws:v1.9.0"; }];
    credentials = { useSecret = true; existingSecret = "velero-s3-credentials"; };
  };
in
{
  "values of 2024 with restic are understood" = {
    found = chartValues of2024;
    expected = {
      settings = {
        locations.default = { bucket = "velero-backups"; default = true; endpoint = "https://s3.68cc.io"; region = "us-east-1"; forcePathStyle = true; };
        schedules = { };
        credentials.secretName = "velero-s3-secret";
        server.resources = { limits = { cpu = "500m"; memory = "512Mi"; }; requests = { cpu = "100m"; memory = "256Mi"; }; };
        agent = {
          enable = true;
          name = "restic";
          podVolumePath = "/var/lib/kubelet/pods";
          resources = { limits = { cpu = "500m"; memory = "512Mi"; }; requests = { cpu = "200m"; memory = "256Mi"; }; };
        };
        monitoring.enable = true;
        uploaderType = "restic";
      };
      warnings = [
        "values.image is Velero's image: not read; set trysail.image to yours"
        "values.deployRestic aborts since chart 5: read as a node agent whose DaemonSet is named restic and whose repositories lie in restic/"
        "values.restic.privileged is not needed: the node agent reads with the one right to read"
        "values.initContainers: velero-plugin-for-aws is not needed: S3 is built in"
        "values.configuration.volumeSnapshotLocation defines a location, whatever a comment above it says; no snapshots of disks are made here"
        "values.configuration.defaultVolumesToFsBackup is not set: the chart then saves the files of annotated volumes alone; here those of all claims"
      ];
    };
  };
  "the plan of a home lab is understood" = {
    found = chartValues ofHomeLab;
    expected = {
      settings = {
        locations.default = { bucket = "homelab-backup-velero"; endpoint = "http://10.10.10.209:9000"; region = "minio"; forcePathStyle = true; };
        schedules = { };
        credentials.secretName = "velero-s3-credentials";
        server = { };
        agent.enable = true;
        monitoring = { };
      };
      warnings = [
        "values.initContainers: velero-plugin-for-aws is not needed: S3 is built in"
        "values.configuration.volumeSnapshotLocation is a list in the chart, and keys of a set have no effect there; no snapshots of disks are made here"
        "values.configuration.defaultVolumesToFsBackup is not set: the chart then saves the files of annotated volumes alone; here those of all claims"
      ];
    };
  };
  "its http is still refused until a person means it" = {
    found = (evaluate [{ trysail = (chartValues ofHomeLab).settings // { enable = true; inherit (settings) image; }; }]).errors;
    expected = [ "locations.default.endpoint is http://10.10.10.209:9000, which anybody on the way can read and change: write https://, or set allowInsecure = true for a store in your own network" ];
  };
  "schedules of a chart keep their template" = {
    found = (chartValues {
      deployNodeAgent = true;
      configuration = { defaultVolumesToFsBackup = false; defaultBackupTTL = "240h"; };
      schedules.daily = {
        disabled = true;
        schedule = "0 2 * * *";
        template = { includedNamespaces = [ "a" ]; metadata.labels.tier = "x"; snapshotMoveData = false; };
      };
    }).settings.schedules;
    expected.daily = {
      backupLabels.tier = "x";
      includedNamespaces = [ "a" ];
      paused = true;
      schedule = "0 2 * * *";
      template.snapshotMoveData = false;
      ttl = "240h";
      volumes = "annotated";
    };
  };
  "a secret in values is neither read nor shown" = {
    found = chartValues { deployNodeAgent = true; configuration.defaultVolumesToFsBackup = true; credentials.secretContents.cloud = "CANARY"; };
    expected = {
      settings = { locations = { }; schedules = { }; credentials = { }; server = { }; agent.enable = true; monitoring = { }; };
      warnings = [ "values.credentials.secretContents has readable secrets: not read; write credentials.accessKeyId and secretAccessKey as references" ];
    };
  };
  "a value that nobody reads is named" = {
    found = (chartValues { deployNodeAgent = true; configuration = { defaultVolumesToFsBackup = true; features = "x"; }; nodeAgent.hostPID = true; podAnnotations = { }; upgradeCRDs = false; }).warnings;
    expected = [ "values.podAnnotations is not read" "values.configuration.features is not read" "values.nodeAgent.hostPID is not read" ];
  };
  "a Secret of four keys becomes a credential and a location" = {
    found = s3Secret { S3_ACCESS_KEY_ID = "ref+sops://a#b"; S3_SECRET_ACCESS_KEY = "ref+sops://a#c"; S3_ENDPOINT = "https://s3.68cc.io"; S3_BUCKET = "openebs-backups"; };
    expected = {
      settings = {
        credentials = { accessKeyId = "ref+sops://a#b"; secretAccessKey = "ref+sops://a#c"; };
        locations.default = { bucket = "openebs-backups"; endpoint = "https://s3.68cc.io"; };
      };
      warnings = [ "the Secret gets one key, `cloud`, with a file of AWS credentials: endpoint and bucket are settings of the location, and no secrets" ];
    };
  };
  "values that are rendered for the chart are understood again" = {
    found =
      let
        modules = settings.with_ { monitoring.labels.release = "x"; flux = { enable = true; workload = "helmrelease"; }; monitoring.enable = true; };
        values = (builtins.head (evaluate modules).tree."kubernetes/apps/velero/app/helmrelease.yaml").spec.values;
        again = (chartValues values).settings;
      in
      { inherit (again) locations credentials monitoring uploaderType; };
    expected = {
      locations.default = { bucket = "backup"; default = true; accessMode = "ReadWrite"; endpoint = "https://minio.home.arpa:9000"; forcePathStyle = true; region = "us-east-1"; };
      credentials.secretName = "velero-s3-secret";
      monitoring = { enable = true; labels.release = "x"; };
      uploaderType = "kopia";
    };
  };
}
