# When what is backed up: each schedule becomes a Schedule, or one for each rule of `keep`.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };

  kept = what: mkOption {
    type = types.nullOr types.ints.positive;
    default = null;
    example = 4;
    description = "How many ${what} backups are kept.";
  };

  selection = what: mkOption {
    type = types.listOf types.str;
    default = [ ];
    example = [ "events" ];
    description = what;
  };

  schedule = {
    options = {
      schedule = mkOption {
        type = t.cron;
        example = "0 3 * * *";
        description = "When backups start, in `timeZone`.";
      };

      timeZone = mkOption {
        type = t.timeZone;
        default = "UTC";
        example = "America/Sao_Paulo";
        description = "Time zone of `schedule` and of `drill`.";
      };

      jitter = mkOption {
        type = types.nullOr t.duration;
        default = null;
        example = "20m";
        description = "The longest time by which a backup may be late on purpose, so that clusters do not meet at their store.";
      };

      paused = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether no backups start.";
      };

      skipImmediately = mkOption {
        type = types.nullOr types.bool;
        default = null;
        example = true;
        description = "Whether the first time is passed over when the Schedule is new; what the server says where null.";
      };

      ttl = mkOption {
        type = t.duration;
        default = "720h";
        example = "336h";
        description = "How long a backup is kept. The newest complete one outlives it. Never let the bucket expire objects instead: backups share them.";
      };

      keep = {
        daily = kept "daily";
        weekly = kept "weekly (Sunday's)";
        monthly = kept "monthly (the first day's)";
      };

      drill = mkOption {
        type = types.nullOr t.cron;
        default = null;
        example = "0 12 * * 0";
        description = "When its newest backup is tried: all of it is read and compared with what was signed, and opened where `drillIdentity` names an identity.";
      };

      drillIdentity = mkOption {
        type = types.nullOr t.label;
        default = null;
        example = "drill-identity";
        description = "A Secret of the server's namespace with an age identity, which opens encrypted backups for the drill. Without it a drill says `stored`, and not `proven`. Use an identity of its own.";
      };

      storageLocation = mkOption {
        type = t.label;
        default = "default";
        example = "offsite";
        description = "The location in `locations` where backups lie.";
      };

      includedNamespaces = mkOption {
        type = types.listOf types.str;
        default = [ "*" ];
        example = [ "database" "media" ];
        description = "Namespaces that are backed up.";
      };

      excludedNamespaces = selection "Namespaces that are not backed up.";
      includedResources = selection "Kinds that are backed up; all where empty.";
      excludedResources = selection "Kinds that are not backed up.";

      labelSelector = mkOption {
        type = types.nullOr types.attrs;
        default = null;
        example = { matchLabels.backup = "yes"; };
        description = "Labels of the objects that are backed up; all where null.";
      };

      includeClusterResources = mkOption {
        type = types.nullOr types.bool;
        default = null;
        example = true;
        description = "Whether cluster-wide objects are backed up; null for those that belong to what is chosen.";
      };

      volumes = mkOption {
        type = types.enum [ "claims" "all" "annotated" ];
        default = "claims";
        example = "annotated";
        description = "Whose files are backed up: those of every claim that nobody opted out, those of all volumes of pods that no annotation leaves out, or only those of volumes that the annotation `backup.velero.io/backup-volumes` names.";
      };

      hooks = mkOption {
        type = types.attrs;
        default = { };
        example = { resources = [{ name = "freeze"; pre = [{ exec.command = [ "/bin/sync" ]; }]; }]; };
        description = "Commands in pods before and after their volumes are read, as in Velero's `spec.template.hooks`.";
      };

      backupLabels = mkOption {
        type = types.attrsOf types.str;
        default = { };
        example = { tier = "home"; };
        description = "Labels of the backups.";
      };

      template = mkOption {
        type = types.attrs;
        default = { };
        example = { itemOperationTimeout = "4h"; };
        description = "Further fields of Velero's `spec.template`.";
      };
    };
  };
in
{
  options.trysail.schedules = mkOption {
    type = types.attrsOf (types.submodule schedule);
    default = { };
    example = { daily = { schedule = "0 3 * * *"; ttl = "336h"; }; };
    description = "Backups that are made again and again, by name. With `keep`, one Schedule for each of its rules is rendered, as `NAME-weekly`; deduplication makes that cheap.";
  };
}
