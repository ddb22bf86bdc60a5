# What is refused, and with which words.
{ evaluate, fails, settings, ... }:
let
  inherit (settings) with_ minimal;
  errors = extra: (evaluate (with_ extra)).errors;
  warnings = extra: builtins.filter (warning: warning != noDigest) (evaluate (with_ extra)).warnings;
  noDigest = "image.digest is null: whoever can push that tag decides what runs";
  https = "https://minio.home.arpa:9000";
  recipients = [ "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p" "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td" ];
in
{
  "the least configuration has no errors, and the warning that its tag is not pinned" = {
    found = { inherit (evaluate [ minimal ]) errors warnings; };
    expected = { errors = [ ]; warnings = [ noDigest ]; };
  };
  "errors stop every rendering" = {
    found = map (part: fails (evaluate (with_ { schedules.daily.storageLocation = "nowhere"; })).${part}) [ "parts" "tree" "errors" ];
    expected = [ true true false ];
  };
  "an image must be named" = {
    found = (evaluate [ minimal ({ lib, ... }: { trysail.image.repository = lib.mkForce null; }) ]).errors;
    expected = [ "image.repository is not set: build the image with `nix build .#image`, push it to a registry of yours, and name it" ];
  };
  "an image must have a tag or a digest" = {
    found = (evaluate [ minimal ({ lib, ... }: { trysail.image.tag = lib.mkForce null; }) ]).errors;
    expected = [ "image.tag and image.digest are both null: set one, or import the module through the flake, which sets the tag" ];
  };
  "without a location nothing can be backed up" = {
    found = (evaluate [{ trysail = { enable = true; inherit (settings) image; }; }]).errors;
    expected = [ "locations is empty: add locations.default with a bucket" ];
  };
  "http is refused until it is meant" = {
    found = errors { locations.lan = { bucket = "lan"; endpoint = "http://10.10.10.209:9000"; }; };
    expected = [ "locations.lan.endpoint is http://10.10.10.209:9000, which anybody on the way can read and change: write https://, or set allowInsecure = true for a store in your own network" ];
  };
  "an exception for http is refused where there is none" = {
    found = errors { locations.lan = { bucket = "lan"; endpoint = https; allowInsecure = true; }; };
    expected = [ "locations.lan.allowInsecure is true and its endpoint is not http://: remove it" ];
  };
  "http without encryption gets a warning, and with recipients none" = {
    found = map (extra: warnings ({ locations.lan = { bucket = "lan"; endpoint = "http://10.10.10.209:9000"; allowInsecure = true; }; } // extra)) [
      { }
      { encryption = { inherit recipients; }; }
    ];
    expected = [ [ "locations.lan: files travel and lie readable; set encryption.recipients" ] [ ] ];
  };
  "a single recipient gets a warning" = {
    found = warnings { encryption.recipients = [ (builtins.head recipients) ]; };
    expected = [ "there is one recipient: when its key is lost, every backup is; add a second one and keep its key elsewhere" ];
  };
  "places within each other are refused" = {
    found = builtins.concatMap (prefixes: errors { locations = { default = { prefix = prefixes.a; }; other = { bucket = "backup"; endpoint = https; prefix = prefixes.b; }; }; }) [
      { a = null; b = "x"; }
      { a = "/x/"; b = "x"; }
      { a = "x"; b = "x/y"; }
      { a = "x"; b = "xy"; }
    ];
    expected = builtins.genList (_: "locations.default and locations.other lie within each other in bucket backup: give them prefixes of which none begins with the other") 3;
  };
  "one location is the default" = {
    found = errors { locations.other = { bucket = "other"; default = true; }; };
    expected = [ "locations default, other are all the default: set default = false in all but one" ];
  };
  "a schedule names a location that there is and that can be written" = {
    found = errors {
      locations.archive = { bucket = "archive"; accessMode = "ReadOnly"; };
      schedules = { a = { schedule = "@daily"; storageLocation = "nowhere"; }; b = { schedule = "@daily"; storageLocation = "archive"; }; };
    };
    expected = [
      "schedules.a.storageLocation is \"nowhere\", which is not in locations (archive, default): name one of them, or add it"
      "schedules.b.storageLocation is \"archive\", whose accessMode is ReadOnly: choose a location that can be written"
    ];
  };
  "a namespace is not both in and out" = {
    found = errors { schedules.daily = { includedNamespaces = [ "a" "b" ]; excludedNamespaces = [ "b" ]; }; };
    expected = [ "schedules.daily includes and excludes b: remove it from one of both lists" ];
  };
  "rules of keeping need one time a day" = {
    found = errors { schedules.often = { schedule = "*/5 * * * *"; keep.daily = 7; }; };
    expected = [ "schedules.often.keep needs a schedule of one time a day, as \"0 3 * * *\", and not \"*/5 * * * *\": keep rules become one Schedule each at that time" ];
  };
  "names are those that Kubernetes takes" = {
    found = errors { schedules."Every Day" = { schedule = "@daily"; }; locations."a/b" = { bucket = "x-y"; }; };
    expected = [
      "locations.a/b: a name has lower case letters, digits and `-` alone"
      "schedules.Every Day: a name has lower case letters, digits and `-` alone"
    ];
  };
  "half a credential is refused" = {
    found = errors { credentials.accessKeyId = "ref+sops://a#b"; };
    expected = [ "credentials.accessKeyId and credentials.secretAccessKey: set both, or none if the Secret velero-s3-secret comes from elsewhere" ];
  };
  "a Secret beside other objects gets a warning" = {
    found = warnings { credentials = { accessKeyId = "ref+sops://a#b"; secretAccessKey = "ref+sops://a#c"; }; };
    expected = [ "emit has \"secrets\" and other parts: the file is sealed as a whole, so nobody can review the rest of it; put the Secret into a file of its own" ];
  };
  "a Secret that no file of the tree holds gets a warning" = {
    found = warnings { emit = [ "secrets" ]; flux.enable = true; credentials = { accessKeyId = "ref+sops://a#b"; secretAccessKey = "ref+sops://a#c"; }; };
    expected = [ "flux: no file of the tree has the Secret velero-s3-secret: seal what `lib.secret` renders, and name the file in credentials.sopsFiles" ];
  };
  "limits that a quota has no room for are refused" = {
    found = errors { quota = { cpu = "2"; memory = "1Gi"; nodes = 4; }; };
    expected = [
      "quota.cpu is 2, and 1 server, 4 node agents and one restore may use more: lower their resources.limits.cpu, or raise the quota"
      "quota.memory is 1Gi, and 1 server, 4 node agents and one restore may use more: lower their resources.limits.memory, or raise the quota"
    ];
  };
  "limits that just fit a quota are taken" = {
    found = errors { quota = { cpu = "2"; memory = "1Gi"; nodes = 2; }; };
    expected = [ ];
  };
  "a quota needs limits" = {
    found = (evaluate (with_ { quota.cpu = "2"; } ++ [ ({ lib, ... }: { trysail.agent.resources = lib.mkForce { }; }) ])).errors;
    expected = [ "quota.cpu is set, but server.resources.limits or agent.resources.limits has no cpu: Kubernetes refuses pods without it" ];
  };
  "base paths that the node agent uses itself are refused" = {
    found = errors { agent.hostPaths = [ "/srv" "/scratch" ]; };
    expected = [ "agent.hostPaths has /scratch, where the node agent mounts something else: move those volumes" ];
  };
  "a class on a disk needs the place where the disk is mounted, and one class is the default" = {
    found = errors { openebs = { enable = true; classes = { a = { device = true; isDefault = true; }; b = { isDefault = true; }; openebs-localpv-hostpath = { isDefault = false; }; }; }; };
    expected = [
      "openebs.classes a, b are all the default: leave isDefault to one of them"
      "openebs.classes.a.device is true: mount the disk on each node, and name the directory in basePath"
    ];
  };
  "a device class is a directory, and that is said" = {
    found = warnings { openebs = { enable = true; classes.disk = { device = true; basePath = "/mnt/disk1"; }; }; };
    expected = [ "openebs.classes.disk: OpenEBS 4 has no device mode; volumes are directories below /mnt/disk1, where the disk must be mounted" ];
  };
  "schedules without node agents get a warning" = {
    found = warnings { agent.enable = false; };
    expected = [ "agent.enable is false: schedules run, and no file of any volume is backed up" ];
  };
  "restic is refused for charts that refuse it" = {
    found = builtins.concatMap (version: errors { uploaderType = "restic"; flux = { enable = true; workload = "helmrelease"; chart = { inherit version; }; }; }) [ "5.4.x" "10.1.0" "11.0.0" "12.x" ];
    expected = builtins.genList (_: "uploaderType is restic, which Velero's chart refuses since 11.0.0: set flux.workload = \"manifests\", or flux.chart.version to an older one") 2;
  };
  "what has the wrong type is refused" = {
    found = map (extra: fails (evaluate (with_ extra)).parts) [
      { schedules.daily.schedule = "0 25 * * *"; }
      { schedules.daily.ttl = "14d"; }
      { locations.default.endpoint = "minio:9000"; }
      { image.digest = "sha256:0"; }
      { encryption.recipients = [ "AGE-SECRET-KEY-1" ]; }
      { emit = [ "everything" ]; }
      { schedules.daily.shedule = "@daily"; }
      { agent.podVolumePath = "var/lib"; }
      { agent.hostPaths = [ "/" ]; }
    ];
    expected = builtins.genList (_: true) 9;
  };
}
