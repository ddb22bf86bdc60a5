# What is wrong with a configuration, and what may surprise. Errors say what to write instead.
let
  inherit (builtins) any attrNames concatLists concatMap concatStringsSep elem filter foldl' length map match toString trace;
  patterns = import ./patterns.nix;
  quantity = import ./quantity.nix;

  when = condition: message: if condition then [ message ] else [ ];
  list = concatStringsSep ", ";

  ofImage = cfg: concatLists [
    (when (cfg.image.repository == null)
      "image.repository is not set: build the image with `nix build .#image`, push it to a registry of yours, and name it")
    (when (cfg.image.repository != null && cfg.image.tag == null && cfg.image.digest == null)
      "image.tag and image.digest are both null: set one, or import the module through the flake, which sets the tag")
  ];

  isDefault = cfg: name:
    let l = cfg.locations.${name}; in
    if l.default != null then l.default else name == "default" || length (attrNames cfg.locations) == 1;
  isPlain = l: l.endpoint != null && builtins.substring 0 7 l.endpoint == "http://";
  recipientsOf = cfg: l: if l.recipients != null then l.recipients else cfg.encryption.recipients;

  # Two places in one bucket of which one lies within the other.
  trimmed = l: if l.prefix == null then "" else concatStringsSep "/" (filter (part: builtins.isString part && part != "") (builtins.split "/" l.prefix));
  within = outer: inner: outer == "" || outer == inner || builtins.substring 0 (builtins.stringLength outer + 1) inner == "${outer}/";
  overlaps = cfg: concatMap
    (a: concatMap
      (b:
        let l = cfg.locations.${a}; m = cfg.locations.${b}; in
        when (a < b && l.bucket == m.bucket && l.endpoint == m.endpoint && (within (trimmed l) (trimmed m) || within (trimmed m) (trimmed l)))
          "locations.${a} and locations.${b} lie within each other in bucket ${l.bucket}: give them prefixes of which none begins with the other")
      (attrNames cfg.locations))
    (attrNames cfg.locations);

  ofLocation = cfg: name:
    let l = cfg.locations.${name}; in
    concatLists [
      (when (match patterns.label name == null) "locations.${name}: a name has lower case letters, digits and `-` alone")
      (when (isPlain l && !l.allowInsecure)
        "locations.${name}.endpoint is ${l.endpoint}, which anybody on the way can read and change: write https://, or set allowInsecure = true for a store in your own network")
      (when (!(isPlain l) && l.allowInsecure)
        "locations.${name}.allowInsecure is true and its endpoint is not http://: remove it")
    ];

  ofSchedule = cfg: name:
    let
      s = cfg.schedules.${name};
      l = cfg.locations.${s.storageLocation} or null;
      both = filter (namespace: elem namespace s.excludedNamespaces) s.includedNamespaces;
      hasKeep = s.keep.daily != null || s.keep.weekly != null || s.keep.monthly != null;
    in
    concatLists [
      (when (match patterns.label name == null) "schedules.${name}: a name has lower case letters, digits and `-` alone")
      (when (l == null)
        "schedules.${name}.storageLocation is \"${s.storageLocation}\", which is not in locations (${list (attrNames cfg.locations)}): name one of them, or add it")
      (when (l != null && l.accessMode == "ReadOnly")
        "schedules.${name}.storageLocation is \"${s.storageLocation}\", whose accessMode is ReadOnly: choose a location that can be written")
      (when (both != [ ]) "schedules.${name} includes and excludes ${list both}: remove it from one of both lists")
      (when (hasKeep && match patterns.onceADay s.schedule == null)
        "schedules.${name}.keep needs a schedule of one time a day, as \"0 3 * * *\", and not \"${s.schedule}\": keep rules become one Schedule each at that time")
    ];

  ofCredentials = cfg:
    let c = cfg.credentials; in
    when ((c.accessKeyId == null) != (c.secretAccessKey == null))
      "credentials.accessKeyId and credentials.secretAccessKey: set both, or none if the Secret ${c.secretName} comes from elsewhere";

  # Where the node agent keeps what is its own.
  ofPaths = cfg:
    let taken = filter (path: elem path [ "/credentials" "/host_pods" "/scratch" ]) cfg.agent.hostPaths; in
    when (taken != [ ]) "agent.hostPaths has ${list taken}, where the node agent mounts something else: move those volumes";

  # Charts of Velero refuse restic since 11.0.0.
  ofChart = cfg:
    when
      (cfg.flux.enable && cfg.flux.workload == "helmrelease" && cfg.uploaderType == "restic"
        && match "v?([0-9]|10)[.].*" cfg.flux.chart.version == null)
      "uploaderType is restic, which Velero's chart refuses since 11.0.0: set flux.workload = \"manifests\", or flux.chart.version to an older one";

  ofClasses = cfg:
    let
      classes = cfg.openebs.classes;
      names = attrNames classes;
      defaults = filter (name: classes.${name}.isDefault) names;
    in
    if !cfg.openebs.enable then [ ] else
    when (length defaults > 1) "openebs.classes ${list defaults} are all the default: leave isDefault to one of them"
    ++ concatMap
      (name: when (classes.${name}.device && classes.${name}.basePath == "/var/openebs/local")
        "openebs.classes.${name}.device is true: mount the disk on each node, and name the directory in basePath")
      names;

  ofQuota = cfg:
    let
      limit = pod: what: let text = pod.resources.limits.${what} or null; in if text == null then null else quantity text;
      sum = what:
        let server = limit cfg.server what; agent = if cfg.agent.enable then limit cfg.agent what else 0;
        in if server == null || agent == null then null else cfg.server.replicas * server + (cfg.quota.nodes + 1) * agent;
      check = what:
        let most = cfg.quota.${what}; needed = sum what; in
        if most == null then [ ]
        else if needed == null then [ "quota.${what} is set, but server.resources.limits or agent.resources.limits has no ${what}: Kubernetes refuses pods without it" ]
        else
          when (needed > quantity most)
            "quota.${what} is ${most}, and ${toString cfg.server.replicas} server, ${toString cfg.quota.nodes} node agents and one restore may use more: lower their resources.limits.${what}, or raise the quota";
    in
    check "cpu" ++ check "memory";

  # Whether a part is rendered, so that a file of the Secret alone needs no settings of the rest.
  rendered = cfg: part: cfg.flux.enable || elem part cfg.emit;

  errors = cfg: concatLists [
    (if rendered cfg "workload" then ofImage cfg else [ ])
    (when (rendered cfg "resources" && cfg.locations == { }) "locations is empty: add locations.default with a bucket")
    (concatMap (ofLocation cfg) (attrNames cfg.locations))
    (
      let defaults = filter (isDefault cfg) (attrNames cfg.locations); in
      when (length defaults > 1) "locations ${list defaults} are all the default: set default = false in all but one"
    )
    (overlaps cfg)
    (concatMap (ofSchedule cfg) (attrNames cfg.schedules))
    (ofCredentials cfg)
    (ofPaths cfg)
    (ofChart cfg)
    (ofClasses cfg)
    (ofQuota cfg)
  ];

  warnings = cfg: concatLists [
    (when (rendered cfg "workload" && cfg.image.digest == null) "image.digest is null: whoever can push that tag decides what runs")
    (concatMap
      (name:
        let l = cfg.locations.${name}; in
        when (isPlain l && recipientsOf cfg l == [ ])
          "locations.${name}: files travel and lie readable; set encryption.recipients")
      (attrNames cfg.locations))
    (when (any (name: length (recipientsOf cfg cfg.locations.${name}) == 1) (attrNames cfg.locations))
      "there is one recipient: when its key is lost, every backup is; add a second one and keep its key elsewhere")
    (when (cfg.flux.enable && cfg.credentials.accessKeyId != null && cfg.credentials.sopsFiles == [ ])
      "flux: no file of the tree has the Secret ${cfg.credentials.secretName}: seal what `lib.secret` renders, and name the file in credentials.sopsFiles")
    (when (!cfg.agent.enable && cfg.schedules != { }) "agent.enable is false: schedules run, and no file of any volume is backed up")
    (when (cfg.credentials.accessKeyId != null && elem "secrets" cfg.emit && length cfg.emit > 1)
      "emit has \"secrets\" and other parts: the file is sealed as a whole, so nobody can review the rest of it; put the Secret into a file of its own")
    (if !cfg.openebs.enable then [ ] else
    concatMap
      (name: when cfg.openebs.classes.${name}.device
        "openebs.classes.${name}: OpenEBS 4 has no device mode; volumes are directories below ${cfg.openebs.classes.${name}.basePath}, where the disk must be mounted")
      (attrNames cfg.openebs.classes))
    (when (cfg.flux.enable && cfg.flux.workload == "helmrelease" && cfg.agent.name != "node-agent")
      "agent.name is ${cfg.agent.name}: Velero's chart names its DaemonSet node-agent all the same")
    (when (cfg.flux.enable && cfg.flux.workload == "helmrelease" && !cfg.flux.split)
      "flux.split is false: schedules wait for kinds that the chart brings, so the first reconciliation fails until Flux tries again")
    (when (cfg.openebs.enable && cfg.openebs.mode == "node" && match "4[.][5-9].*" cfg.openebs.chart.version == null)
      "openebs.mode is node, which charts have since 4.5: chart.version is ${cfg.openebs.chart.version}")
  ];
in
{
  inherit errors warnings;

  # `value`, if nothing is wrong; what may surprise is said on the way.
  enforce = cfg: value:
    if !cfg.enable then { }
    else if cfg.errors == [ ] then foldl' (result: warning: trace "trysail: ${warning}" result) value cfg.warnings
    else throw "trysail:\n${concatStringsSep "\n" (map (error: " - ${error}") cfg.errors)}";
}
