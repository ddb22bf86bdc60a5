# The dashboard of Grafana: one look says whether backups are there, whole, young and proven.
let
  datasource = { type = "prometheus"; uid = "\${datasource}"; };

  at = x: y: w: h: { inherit x y w h; };
  target = expr: legendFormat: { inherit datasource expr legendFormat; refId = "A"; };

  panel = type: title: unit: gridPos: thresholds: targets: {
    inherit datasource gridPos targets title type;
    fieldConfig = {
      defaults = { inherit unit; thresholds = { mode = "absolute"; steps = thresholds; }; };
      overrides = [ ];
    };
  };

  step = color: value: { inherit color value; };
  neutral = [ (step "blue" null) ];
  badAbove = limit: [ (step "green" null) (step "red" limit) ];
  goodFrom = limit: [ (step "red" null) (step "green" limit) ];

  stat = panel "stat";
  series = panel "timeseries";
  table = panel "table";
  numbered = builtins.genList (i: builtins.elemAt panels i // { id = i + 1; }) (builtins.length panels);

  panels = [
    (stat "Age of the last complete backup" "s" (at 0 0 8 5) (badAbove 93600) [
      (target ''time() - velero_backup_last_successful_timestamp{schedule!=""}'' "{{schedule}}")
    ])
    (stat "Last backup complete" "bool_yes_no" (at 8 0 5 5) (goodFrom 1) [
      (target ''velero_backup_last_status{schedule!=""}'' "{{schedule}}")
    ])
    (stat "Locations available" "bool_yes_no" (at 13 0 5 5) (goodFrom 1) [
      (target "velero_backup_location_status_gauge" "{{backup_location_name}}")
    ])
    (stat "Since a restore was proven" "s" (at 18 0 6 5) (badAbove 691200) [
      (target "time() - trysail_last_proven_timestamp_seconds" "{{schedule}}")
    ])
    (table "What is said of locations" "none" (at 0 5 12 6) neutral [
      (target "trysail_location_condition == 1" "{{location}} {{reason}}")
    ])
    (table "Claims in no backup" "none" (at 12 5 12 6) neutral [
      (target ''kube_persistentvolumeclaim_status_phase{phase="Bound"} == 1 unless on (namespace, persistentvolumeclaim) label_replace(trysail_volume_last_successful_timestamp_seconds, "persistentvolumeclaim", "$1", "claim", "(.+)")'' "{{namespace}}/{{persistentvolumeclaim}}")
    ])
    (series "Backups of a day" "none" (at 0 11 12 7) neutral [
      (target "sum by (schedule) (increase(velero_backup_success_total[1d]))" "complete {{schedule}}")
      ((target "sum by (schedule) (increase(velero_backup_partial_failure_total[1d]))" "not whole {{schedule}}") // { refId = "B"; })
      ((target "sum by (schedule) (increase(velero_backup_failure_total[1d]))" "failed {{schedule}}") // { refId = "C"; })
    ])
    (series "Duration of backups" "s" (at 12 11 12 7) neutral [
      (target "rate(velero_backup_duration_seconds_sum[1d]) / rate(velero_backup_duration_seconds_count[1d])" "{{schedule}}")
    ])
    (series "Objects in the last backup" "none" (at 0 18 8 7) neutral [
      (target "velero_backup_items_total" "{{schedule}}")
    ])
    (series "Size of the objects" "bytes" (at 8 18 8 7) neutral [
      (target "velero_backup_tarball_size_bytes" "{{schedule}}")
    ])
    (series "Age of the last snapshot of each claim" "s" (at 0 25 24 8) neutral [
      (target "time() - trysail_volume_last_successful_timestamp_seconds" "{{namespace}}/{{claim}}")
    ])
    (series "Restores of a day" "none" (at 16 18 8 7) neutral [
      (target "sum(increase(velero_restore_success_total[1d]))" "complete")
      ((target "sum(increase(velero_restore_partial_failure_total[1d])) + sum(increase(velero_restore_failed_total[1d]))" "not whole or failed") // { refId = "B"; })
    ])
  ];
in
{
  title = "Trysail";
  uid = "trysail";
  tags = [ "backup" ];
  schemaVersion = 39;
  version = 1;
  editable = false;
  refresh = "1m";
  time = { from = "now-7d"; to = "now"; };
  templating.list = [{ name = "datasource"; label = "Data source"; type = "datasource"; query = "prometheus"; }];
  panels = numbered;
}
