# For `promtool test rules`: each alert with series on which it fires, the time at which it does, and one at which it does
# not yet. Time begins at zero there, so a timestamp of zero grows old by itself.
let
  inherit (builtins) attrNames filter listToAttrs map;
  inherit (import ../../nix/core) yaml;
  alerts = import ../../nix/core/alerts.nix { namespace = "velero"; agent = "node-agent"; staleAfter = "26h"; };

  constant = series: value: { inherit series; values = "${toString value}x12000"; };
  daily = { schedule = "daily"; };

  cases = {
    VeleroBackupFailed = {
      series = [ (constant ''velero_backup_last_status{schedule="daily"}'' 0) ];
      quiet = "10m";
      fires = "16m";
      labels = daily;
      summary = "The last backup of schedule daily did not complete";
    };
    VeleroBackupFailing = {
      series = [ (constant ''velero_backup_last_status{schedule="daily"}'' 0) ];
      quiet = "11h";
      fires = "12h5m";
      labels = daily;
      summary = "Backups of schedule daily have not completed for 12 hours";
    };
    VeleroNoNewBackup = {
      series = [ (constant ''velero_backup_last_successful_timestamp{schedule="daily"}'' 0) ];
      quiet = "26h30m";
      fires = "28h";
      labels = daily;
      summary = "The last complete backup of schedule daily is 1d 4h 0m 0s old";
    };
    VeleroBackupPartialFailures = {
      series = [{ series = ''velero_backup_partial_failure_total{schedule="daily"}''; values = "0x10 1x60"; }];
      quiet = "10m";
      fires = "40m";
      labels = daily;
      summary = "A backup of schedule daily is not whole";
    };
    TrysailLocationUnavailable = {
      series = [ (constant ''velero_backup_location_status_gauge{backup_location_name="default"}'' 0) ];
      quiet = "10m";
      fires = "16m";
      labels = { backup_location_name = "default"; };
      summary = "Location default cannot be used";
    };
    TrysailStoreHazard = {
      series = [ (constant ''trysail_location_condition{location="default",reason="LifecycleUnsafe"}'' 1) ];
      quiet = "4m";
      fires = "6m";
      labels = { location = "default"; reason = "LifecycleUnsafe"; };
      summary = "LifecycleUnsafe at location default";
    };
    TrysailStoreClockSkew = {
      series = [ (constant ''trysail_location_condition{location="default",reason="ClockSkew"}'' 1) ];
      quiet = "10m";
      fires = "16m";
      labels = { location = "default"; reason = "ClockSkew"; };
      summary = "The clock of location default and ours differ";
    };
    TrysailCleartextTransport = {
      series = [ (constant ''trysail_location_condition{location="default",reason="PlaintextTransport"}'' 1) ];
      quiet = "50m";
      fires = "61m";
      labels = { location = "default"; reason = "PlaintextTransport"; };
      summary = "PlaintextTransport to location default";
    };
    TrysailBackupMissed = {
      series = [
        (constant ''velero_backup_last_successful_timestamp{schedule="daily"}'' 0)
        (constant ''velero_schedule_expected_interval_seconds{schedule="daily"}'' 3600)
      ];
      quiet = "1h50m";
      fires = "2h10m";
      labels = daily;
      summary = "Schedule daily has missed a backup";
    };
    TrysailPVCRPOBreached = {
      series = [
        (constant ''trysail_volume_last_successful_timestamp_seconds{claim="photos",namespace="media"}'' 0)
        (constant ''velero_schedule_expected_interval_seconds{schedule="daily"}'' 3600)
      ];
      quiet = "1h50m";
      fires = "2h10m";
      labels = { claim = "photos"; namespace = "media"; };
      summary = "Claim media/photos was last saved 2h 10m 0s ago";
    };
    TrysailReconcileErrors = {
      series = [{ series = ''trysail_reconcile_errors_total{controller="backup",class="transient"}''; values = "0+1x200"; }];
      quiet = "10m";
      fires = "1h";
      labels = { controller = "backup"; class = "transient"; };
      summary = "Controller backup fails again and again: transient";
    };
    TrysailAgentMissing = {
      series = [
        (constant ''kube_daemonset_status_desired_number_scheduled{namespace="velero",daemonset="node-agent"}'' 3)
        (constant ''kube_daemonset_status_number_ready{namespace="velero",daemonset="node-agent"}'' 1)
      ];
      quiet = "10m";
      fires = "16m";
      labels = { namespace = "velero"; daemonset = "node-agent"; };
      summary = "2 nodes have no ready node agent";
    };
    TrysailPVCNotProtected = {
      series = [
        (constant ''kube_persistentvolumeclaim_status_phase{namespace="media",persistentvolumeclaim="photos",phase="Bound"}'' 1)
        (constant ''kube_persistentvolumeclaim_status_phase{namespace="media",persistentvolumeclaim="saved",phase="Bound"}'' 1)
        (constant ''trysail_volume_last_successful_timestamp_seconds{claim="saved",namespace="media"}'' 1)
      ];
      quiet = "23h";
      fires = "24h5m";
      labels = { namespace = "media"; persistentvolumeclaim = "photos"; phase = "Bound"; };
      summary = "Claim media/photos is in no backup";
    };
    TrysailVolumesNotSaved = {
      series = [ (constant ''trysail_backup_volumes_not_saved{schedule="daily"}'' 3) ];
      quiet = "10m";
      fires = "16m";
      labels = daily;
      summary = "The last backup of schedule daily left out 3 volumes";
    };
    TrysailBackupWithoutVolumes = {
      series = [
        (constant ''velero_backup_last_successful_timestamp{schedule="daily"}'' 200000)
        (constant ''trysail_volume_last_successful_timestamp_seconds{claim="photos",namespace="media"}'' 100000)
      ];
      quiet = "10m";
      fires = "16m";
      labels = daily;
      summary = "Backups of schedule daily complete, and no files of any volume have been saved for a day";
    };
    TrysailBackupStalled = {
      series = [
        (constant ''podVolume_pod_volume_backup_dequeue_count{pod="node-agent-x",node="n1"}'' 5)
        (constant ''trysail_node_transfers_total{pod="node-agent-x",result="saved"}'' 3)
        (constant ''trysail_node_transfers_total{pod="node-agent-x",result="failed"}'' 1)
      ];
      quiet = "5h";
      fires = "6h5m";
      labels = { pod = "node-agent-x"; };
      summary = "Node agent node-agent-x has been reading volumes for six hours without a rest";
    };
    TrysailRepositoryGCStale = {
      series = [ (constant ''trysail_repository_pruned_timestamp_seconds{repository="app-default-kopia"}'' 0) ];
      quiet = "72h30m";
      fires = "74h";
      labels = { repository = "app-default-kopia"; };
      summary = "Repository app-default-kopia has not been pruned for 3d 2h 0m 0s";
    };
    TrysailRestoreNotProven = {
      series = [ (constant ''trysail_last_proven_timestamp_seconds{schedule="daily"}'' 0) ];
      quiet = "192h30m";
      fires = "194h";
      labels = daily;
      summary = "No restore has been proven for 8d 2h 0m 0s";
    };
    TrysailDrillFailed = {
      series = [{ series = ''trysail_drill_failed{schedule="daily"}''; values = "0x60 1x60"; }];
      quiet = "30m";
      fires = "90m";
      labels = daily;
      summary = "The newest backup of daily cannot be restored whole";
    };
  };

  test = alert:
    let case = cases.${alert.alert}; in
    {
      name = alert.alert;
      interval = "1m";
      input_series = case.series;
      alert_rule_test = [
        { alertname = alert.alert; eval_time = case.quiet; exp_alerts = [ ]; }
        {
          alertname = alert.alert;
          eval_time = case.fires;
          exp_alerts = [{ exp_labels = case.labels // { inherit (alert) severity; }; exp_annotations = { inherit (case) summary; description = alert.runbook; }; }];
        }
      ];
    };

  rule = import ../../nix/core/alert-rules.nix { runbookUrl = ""; };
  untested = filter (name: !(cases ? ${name})) (map (alert: alert.alert) alerts);
  unknown = filter (name: !((listToAttrs (map (alert: { name = alert.alert; value = null; }) alerts)) ? ${name})) (attrNames cases);
in
assert untested == [ ] && unknown == [ ];
{
  "rules.yaml" = yaml.document { groups = [{ name = "trysail"; rules = map rule alerts; }]; };
  "test.yaml" = yaml.document { rule_files = [ "rules.yaml" ]; evaluation_interval = "1m"; tests = map test alerts; };
}
