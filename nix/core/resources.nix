# BackupStorageLocations and Schedules.
cfg:
let
  metadata = import ./metadata.nix cfg;
  present = import ./present.nix;
  patterns = import ./patterns.nix;
  inherit (builtins) attrNames concatMap concatStringsSep elemAt length map match toString;

  flag = value: if value then "true" else "false";

  annotated = annotations: object: if annotations == { } then object else object // { inherit annotations; };

  location = name:
    let
      l = cfg.locations.${name};
      isDefault = if l.default != null then l.default else name == "default" || length (attrNames cfg.locations) == 1;
      recipients = if l.recipients != null then l.recipients else cfg.encryption.recipients;
    in
    {
      apiVersion = "velero.io/v1";
      kind = "BackupStorageLocation";
      metadata = annotated (present { "trysail.io/recipients" = if recipients == [ ] then null else concatStringsSep "," recipients; })
        (metadata.inNamespace "location" name);
      spec = present {
        provider = "aws";
        inherit (l) accessMode credential validationFrequency;
        backupSyncPeriod = l.syncPeriod;
        default = if isDefault then true else null;
        objectStorage = present { inherit (l) bucket prefix caCertRef; };
        config = present
          {
            inherit (l) region;
            s3Url = l.endpoint;
            publicUrl = l.publicEndpoint;
            s3ForcePathStyle = flag l.forcePathStyle;
            insecureSkipTLSVerify = if l.insecureSkipTLSVerify then "true" else null;
          } // l.config;
      };
    };

  # One for each rule of `keep`; where there is none, one.
  variants = name:
    let
      s = cfg.schedules.${name};
      time = match patterns.onceADay s.schedule;
      at = days: "${elemAt time 0} ${elemAt time 1} ${days}";
      rule = word: count: days: hours:
        if count == null then [ ] else [{ name = "${name}-${word}"; schedule = at days; ttl = "${toString (count * hours)}h"; }];
      kept = rule "daily" s.keep.daily "* * *" 24
        ++ rule "weekly" s.keep.weekly "* * 0" (7 * 24)
        ++ rule "monthly" s.keep.monthly "1 * *" (31 * 24);
    in
    if kept == [ ] then [{ inherit name; inherit (s) schedule ttl; }] else kept;

  schedule = name: variant:
    let
      s = cfg.schedules.${name};
    in
    {
      apiVersion = "velero.io/v1";
      kind = "Schedule";
      metadata = annotated
        (present {
          "trysail.io/time-zone" = if s.timeZone == "UTC" then null else s.timeZone;
          "trysail.io/jitter" = s.jitter;
          "trysail.io/drill" = s.drill;
          "trysail.io/identity-secret" = if s.drill == null then null else s.drillIdentity;
        })
        (metadata.inNamespace "schedule" variant.name);
      spec = present {
        inherit (variant) schedule;
        inherit (s) skipImmediately;
        paused = if s.paused then true else null;
        template = present ({
          inherit (variant) ttl;
          inherit (s) excludedNamespaces excludedResources hooks includeClusterResources includedNamespaces
            includedResources labelSelector storageLocation;
          # Where nothing is said, the server saves claims.
          defaultVolumesToFsBackup = { claims = null; all = true; annotated = false; }.${s.volumes};
          metadata = present { labels = s.backupLabels; };
        } // s.template);
      };
    };
in
map location (attrNames cfg.locations)
++ concatMap (name: map (schedule name) (variants name)) (attrNames cfg.schedules)
