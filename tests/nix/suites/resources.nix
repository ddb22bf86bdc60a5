# Locations and schedules become Velero's kinds.
{ ofKind, settings, ... }:
let
  inherit (builtins) map;
  inherit (settings) minimal with_;
  schedules = extra: map (object: { inherit (object.metadata) name; inherit (object.spec) schedule; inherit (object.spec.template) ttl; }) (builtins.filter (object: object.metadata.name != "daily") (ofKind "Schedule" (with_ { schedules.kept = extra; })));
  spec = extra: (builtins.head (ofKind "BackupStorageLocation" (with_ { locations.default = extra; }))).spec;
in
{
  "rules of keeping become one Schedule each" = {
    found = schedules { schedule = "30 4 * * *"; keep = { daily = 7; weekly = 4; monthly = 6; }; };
    expected = [
      { name = "kept-daily"; schedule = "30 4 * * *"; ttl = "168h"; }
      { name = "kept-weekly"; schedule = "30 4 * * 0"; ttl = "672h"; }
      { name = "kept-monthly"; schedule = "30 4 1 * *"; ttl = "4464h"; }
    ];
  };
  "files of claims are backed up where neither all volumes nor annotated ones are wanted" = {
    found = map (volumes: (builtins.head (ofKind "Schedule" (with_ { schedules.daily = { schedule = "0 3 * * *"; inherit volumes; }; }))).spec.template.defaultVolumesToFsBackup or null) [ "claims" "all" "annotated" ];
    expected = [ null true false ];
  };
  "what Velero has no field for is an annotation, and only where it is said" = {
    found = map (extra: (builtins.head (ofKind "Schedule" (with_ { schedules.daily = { schedule = "0 3 * * *"; } // extra; }))).metadata.annotations or { })
      [{ } { timeZone = "America/Sao_Paulo"; jitter = "20m"; drill = "@weekly"; }];
    expected = [{ } { "trysail.io/time-zone" = "America/Sao_Paulo"; "trysail.io/jitter" = "20m"; "trysail.io/drill" = "@weekly"; }];
  };
  "settings of a provider are texts, as the API server demands" = {
    found = (spec { insecureSkipTLSVerify = true; forcePathStyle = false; }).config;
    expected = { insecureSkipTLSVerify = "true"; region = "us-east-1"; s3ForcePathStyle = "false"; s3Url = "https://minio.home.arpa:9000"; };
  };
  "recipients of a location win over those of all" = {
    found = map (object: object.metadata.annotations or { }) (ofKind "BackupStorageLocation" (with_ {
      encryption.recipients = [ "age1a" "age1b" ];
      locations = { own = { bucket = "own"; recipients = [ "age1c" ]; }; plain = { bucket = "plain"; recipients = [ ]; }; };
    }));
    expected = [{ "trysail.io/recipients" = "age1a,age1b"; } { "trysail.io/recipients" = "age1c"; } { }];
  };
  "the only location is the default, whatever its name" = {
    found = map (modules: map (object: object.spec.default or false) (ofKind "BackupStorageLocation" modules)) [
      [ minimal ]
      [{ trysail = { enable = true; inherit (settings) image; locations.nas.bucket = "nas"; }; }]
      (with_ { locations.nas.bucket = "nas"; })
    ];
    expected = [ [ true ] [ true ] [ true false ] ];
  };
}
