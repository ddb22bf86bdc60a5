# Alerts: what each asks Prometheus, and what a person does who is woken by it. The page of options ends with these texts.
# `tests/nix/alerts.nix` holds, for each, series that make it fire.
{ namespace, agent, staleAfter }:
let
  inherit (builtins) concatStringsSep elemAt fromJSON match;

  # Seconds of a duration of whole hours, minutes or seconds; Prometheus takes no other in arithmetic.
  seconds = duration:
    let
      parts = match "(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?" duration;
      part = i: if parts == null || elemAt parts i == null then 0 else fromJSON (elemAt parts i);
    in
    part 1 * 3600 + part 3 * 60 + part 5;

  # Things that are said of a location and keep or endanger backups.
  hazards = concatStringsSep "|" [ "AccessDenied" "ForeignDirectories" "ForeignRepository" "LifecycleUnknown" "LifecycleUnsafe" "RollbackSuspected" "StorageFull" "Unwritable" ];

  # kube-state-metrics and we name claims by different labels.
  saved = ''label_replace(trysail_volume_last_successful_timestamp_seconds, "persistentvolumeclaim", "$1", "claim", "(.+)")'';
  notProtected = ''kube_persistentvolumeclaim_status_phase{phase="Bound"} == 1 unless on (namespace, persistentvolumeclaim) ${saved}'';

  # Nothing was ever saved, or nothing since a day before the last backup completed.
  withoutVolumes = let done = ''velero_backup_last_successful_timestamp{schedule!=""}''; in
    "(${done} > 0 unless on () trysail_volume_last_successful_timestamp_seconds) or (${done} - on () group_left () max(trysail_volume_last_successful_timestamp_seconds)) > 86400";

  readable = "PlaintextTransport|UnverifiedTransport";
in
[
  {
    alert = "VeleroBackupFailed";
    expr = ''velero_backup_last_status{schedule!=""} != 1'';
    "for" = "15m";
    severity = "warning";
    summary = "The last backup of schedule {{ $labels.schedule }} did not complete";
    runbook = "`trysail backup get` names the backup, `trysail backup describe BACKUP --details` and `trysail backup logs BACKUP` say what went wrong. Earlier backups are not touched by it.";
  }
  {
    alert = "VeleroBackupFailing";
    expr = ''velero_backup_last_status{schedule!=""} != 1'';
    "for" = "12h";
    severity = "critical";
    summary = "Backups of schedule {{ $labels.schedule }} have not completed for 12 hours";
    runbook = "As for VeleroBackupFailed; by now a day's changes may be lost if a disk dies. After the cause is gone, `trysail backup create --from-schedule SCHEDULE` makes one at once.";
  }
  {
    alert = "VeleroNoNewBackup";
    expr = ''time() - velero_backup_last_successful_timestamp{schedule!=""} > ${toString (seconds staleAfter)}'';
    "for" = "1h";
    severity = "critical";
    summary = "The last complete backup of schedule {{ $labels.schedule }} is {{ $value | humanizeDuration }} old";
    runbook = "`trysail schedule get`: is it paused, does its location exist? `kubectl -n ${namespace} get deploy`: does the server run?";
  }
  {
    alert = "VeleroBackupPartialFailures";
    expr = ''increase(velero_backup_partial_failure_total{schedule!=""}[25h]) > 0'';
    "for" = "15m";
    severity = "warning";
    summary = "A backup of schedule {{ $labels.schedule }} is not whole";
    runbook = "`trysail backup describe BACKUP --details` names each file and object that could not be read. What was read restores exactly.";
  }
  {
    alert = "TrysailLocationUnavailable";
    expr = "velero_backup_location_status_gauge == 0";
    "for" = "15m";
    severity = "critical";
    summary = "Location {{ $labels.backup_location_name }} cannot be used";
    runbook = "`trysail backup-location get` and `kubectl -n ${namespace} get bsl LOCATION -o jsonpath='{.status.message}'` say why, and what to do.";
  }
  {
    alert = "TrysailStoreHazard";
    expr = ''trysail_location_condition{reason=~"${hazards}"} == 1'';
    "for" = "5m";
    severity = "critical";
    summary = "{{ $labels.reason }} at location {{ $labels.location }}";
    runbook = "The message of the location says what threatens its backups and the command that ends it. A rule that deletes objects by age destroys backups that are younger than itself: remove it first of all.";
  }
  {
    alert = "TrysailStoreClockSkew";
    expr = ''trysail_location_condition{reason="ClockSkew"} == 1'';
    "for" = "15m";
    severity = "warning";
    summary = "The clock of location {{ $labels.location }} and ours differ";
    runbook = "Set the clock of the store's machine and of the nodes by NTP. Requests are refused from fifteen minutes on.";
  }
  {
    alert = "TrysailCleartextTransport";
    expr = ''trysail_location_condition{reason=~"${readable}"} == 1'';
    "for" = "1h";
    severity = "info";
    summary = "{{ $labels.reason }} to location {{ $labels.location }}";
    runbook = "Give the store a certificate and the location a `caCertRef`, or set `encryption.recipients` and know who is on that network.";
  }
  {
    alert = "TrysailBackupMissed";
    expr = ''time() - velero_backup_last_successful_timestamp{schedule!=""} > 1.5 * velero_schedule_expected_interval_seconds'';
    "for" = "30m";
    severity = "warning";
    summary = "Schedule {{ $labels.schedule }} has missed a backup";
    runbook = "As for VeleroNoNewBackup. The time between two of its backups says when this fires.";
  }
  {
    alert = "TrysailPVCRPOBreached";
    expr = "time() - trysail_volume_last_successful_timestamp_seconds > 1.5 * scalar(max(velero_schedule_expected_interval_seconds))";
    "for" = "30m";
    severity = "warning";
    summary = "Claim {{ $labels.namespace }}/{{ $labels.claim }} was last saved {{ $value | humanizeDuration }} ago";
    runbook = "`kubectl -n ${namespace} get podvolumebackups -l velero.io/backup-name=BACKUP` says what became of it in the last backup. Is its pod gone, and its base path not among `agent.hostPaths`?";
  }
  {
    alert = "TrysailReconcileErrors";
    expr = "increase(trysail_reconcile_errors_total[1h]) > 20";
    "for" = "15m";
    severity = "warning";
    summary = "Controller {{ $labels.controller }} fails again and again: {{ $labels.class }}";
    runbook = "`kubectl -n ${namespace} logs deploy/SERVER` names the object and the error.";
  }
  {
    alert = "TrysailAgentMissing";
    expr = ''kube_daemonset_status_desired_number_scheduled{namespace="${namespace}",daemonset="${agent}"} - kube_daemonset_status_number_ready{namespace="${namespace}",daemonset="${agent}"} > 0'';
    "for" = "15m";
    severity = "critical";
    summary = "{{ $value }} nodes have no ready node agent";
    runbook = "`kubectl -n ${namespace} get pods -l name=${agent} -o wide`. Volumes of those nodes are not backed up until it runs.";
  }
  {
    alert = "TrysailPVCNotProtected";
    expr = notProtected;
    "for" = "24h";
    severity = "warning";
    summary = "Claim {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is in no backup";
    runbook = "Add its namespace to a schedule, or label it `velero.io/exclude-from-backup=true` if that is meant.";
  }
  {
    alert = "TrysailVolumesNotSaved";
    expr = ''trysail_backup_volumes_not_saved{schedule!=""} > 0'';
    "for" = "15m";
    severity = "warning";
    summary = "The last backup of schedule {{ $labels.schedule }} left out {{ $value }} volumes";
    runbook = "`trysail backup describe BACKUP --details` names them and says why.";
  }
  {
    alert = "TrysailBackupWithoutVolumes";
    expr = withoutVolumes;
    "for" = "15m";
    severity = "warning";
    summary = "Backups of schedule {{ $labels.schedule }} complete, and no files of any volume have been saved for a day";
    runbook = "Does the node agent run? With `volumes = \"annotated\"`, does a pod say which? If no volume is meant, silence this alert for the schedule.";
  }
  {
    alert = "TrysailBackupStalled";
    expr = "sum by (pod) (podVolume_pod_volume_backup_dequeue_count) - sum by (pod) (trysail_node_transfers_total) > 0";
    "for" = "6h";
    severity = "warning";
    summary = "Node agent {{ $labels.pod }} has been reading volumes for six hours without a rest";
    runbook = "`kubectl -n ${namespace} get podvolumebackups` shows what moves, and what does not; the node agent's log says what it waits for. Deleting its pod is safe: the next session goes on.";
  }
  {
    alert = "TrysailRepositoryGCStale";
    expr = "time() - trysail_repository_pruned_timestamp_seconds > 3 * 86400";
    "for" = "1h";
    severity = "warning";
    summary = "Repository {{ $labels.repository }} has not been pruned for {{ $value | humanizeDuration }}";
    runbook = "Nothing is lost; space is not given back. `kubectl -n ${namespace} logs deploy/SERVER` says why, and `trysail repo prune --dry-run` what would go.";
  }
  {
    alert = "TrysailRestoreNotProven";
    expr = "time() - trysail_last_proven_timestamp_seconds > 8 * 86400";
    "for" = "1h";
    severity = "warning";
    summary = "No restore has been proven for {{ $value | humanizeDuration }}";
    runbook = "Annotation trysail.io/drill of the Schedule says when its newest backup is tried, trysail.io/drilled what the last try came to. `stored` means that no identity was there to open it: name a Secret in trysail.io/identity-secret.";
  }
  {
    alert = "TrysailDrillFailed";
    expr = "trysail_drill_failed > 0";
    "for" = "0m";
    severity = "critical";
    summary = "The newest backup of {{ $labels.schedule }} cannot be restored whole";
    runbook = "`kubectl -n ${namespace} get schedule -o yaml` has the reason in trysail.io/drilled, and backups/<backup>/<backup>-trysail-drill.json in the bucket every finding. A new backup stores again what the volumes still hold, after `trysail repo check --mark-bad`.";
  }
]
