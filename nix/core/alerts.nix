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
    alert = "TrysailPVCRPOBreached";
    expr = ''time() - velero_backup_last_successful_timestamp{schedule!=""} > 1.5 * velero_schedule_expected_interval_seconds'';
    "for" = "30m";
    severity = "warning";
    summary = "Schedule {{ $labels.schedule }} has missed a backup";
    runbook = "As for VeleroNoNewBackup. The time between two of its backups says when this fires.";
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
    expr = "trysail_pvc_protected == 0";
    "for" = "24h";
    severity = "warning";
    summary = "Claim {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is in no backup";
    runbook = "Add its namespace to a schedule, or label it `velero.io/exclude-from-backup=true` if that is meant.";
  }
  {
    alert = "TrysailBackupWithoutVolumes";
    expr = ''trysail_backup_last_volumes{schedule!=""} == 0'';
    "for" = "15m";
    severity = "warning";
    summary = "The last backup of schedule {{ $labels.schedule }} completed without the files of any volume";
    runbook = "Does the node agent run? With `volumes = \"annotated\"`, does a pod say which? If no volume is meant, silence this alert for the schedule.";
  }
  {
    alert = "TrysailBackupStalled";
    expr = "trysail_volume_stall_seconds > 1800";
    "for" = "5m";
    severity = "critical";
    summary = "The backup of a volume on node {{ $labels.node }} has not moved for half an hour";
    runbook = "`kubectl -n ${namespace} get podvolumebackups` names it; the node agent's log says what it waits for. Deleting its pod is safe: the next session goes on.";
  }
  {
    alert = "TrysailRestoreNotProven";
    expr = "time() - trysail_last_proven_timestamp_seconds > 8 * 86400";
    "for" = "1h";
    severity = "warning";
    summary = "No restore has been proven for {{ $value | humanizeDuration }}";
    runbook = "`trysail drill` restores the newest backup aside and compares it. What has never been restored is a hope.";
  }
]
