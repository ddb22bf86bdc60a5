# Reads values of Velero's chart, of any version since 2, and yields settings of ours and what is to be said about them.
# Nothing is dropped in silence: a value that has no counterpart gets a warning.
values:
let
  inherit (builtins) attrNames concatLists concatMap elem filter isAttrs isList listToAttrs map removeAttrs;

  when = condition: message: if condition then [ message ] else [ ];
  pick = names: set: listToAttrs (concatMap (name: if set ? ${name} && set.${name} != null then [{ inherit name; value = set.${name}; }] else [ ]) names);
  given = name: set: if set ? ${name} && set.${name} != null then [ set.${name} ] else [ ];
  rename = from: to: set: listToAttrs (map (value: { name = to; inherit value; }) (given from set));
  isTrue = value: elem value [ true "true" ];

  configuration = values.configuration or { };

  # A list since chart 5, a single set before.
  listOf = value: if isList value then value else if isAttrs value && value != { } then [ value ] else [ ];
  locations = listOf (configuration.backupStorageLocation or [ ]);
  snapshotLocations = configuration.volumeSnapshotLocation or [ ];

  location = l:
    let config = l.config or { }; in
    pick [ "bucket" "prefix" "accessMode" "default" "validationFrequency" "credential" ] l
    // rename "backupSyncPeriod" "syncPeriod" l
    // rename "s3Url" "endpoint" config
    // rename "publicUrl" "publicEndpoint" config
    // pick [ "region" ] config
    // (if config ? s3ForcePathStyle then { forcePathStyle = isTrue config.s3ForcePathStyle; } else { })
    // (if isTrue (config.insecureSkipTLSVerify or false) then { insecureSkipTLSVerify = true; } else { })
    // (
      let rest = removeAttrs config [ "s3Url" "publicUrl" "region" "s3ForcePathStyle" "insecureSkipTLSVerify" ];
      in if rest == { } then { } else { config = rest; }
    );

  ttl = configuration.defaultBackupTTL or null;
  read = [ "ttl" "includedNamespaces" "excludedNamespaces" "includedResources" "excludedResources" "labelSelector" "includeClusterResources" "storageLocation" "hooks" "metadata" "snapshotVolumes" "defaultVolumesToFsBackup" "defaultVolumesToRestic" ];
  schedule = name:
    let
      s = values.schedules.${name};
      template = s.template or { };
      byFiles = template.defaultVolumesToFsBackup or (configuration.defaultVolumesToFsBackup or null);
      rest = removeAttrs template read;
    in
    pick [ "schedule" "skipImmediately" ] s
    // (if isTrue (s.paused or false) || isTrue (s.disabled or false) then { paused = true; } else { })
    // pick (filter (key: key != "metadata" && key != "snapshotVolumes" && key != "defaultVolumesToFsBackup" && key != "defaultVolumesToRestic") read) ((if ttl == null then { } else { inherit ttl; }) // template)
    // (if byFiles == null then { } else { volumes = if byFiles then "all" else "annotated"; })
    // (if template ? metadata.labels then { backupLabels = template.metadata.labels; } else { })
    // (if rest == { } then { } else { template = rest; });

  isRestic = values.deployRestic or false;
  agent = (values.restic or { }) // (values.nodeAgent or { });
  metrics = values.metrics or { };
  monitor = metrics.serviceMonitor or { };

  # Values that say how the chart works, and nothing about backups.
  aboutTheChart = [ "upgradeCRDs" "cleanUpCRDs" "upgradeCRDsJob" "kubectl" "serviceAccount" "rbac" "fullnameOverride" "nameOverride" "podSecurityContext" "containerSecurityContext" "livenessProbe" "readinessProbe" "dnsPolicy" "terminationGracePeriodSeconds" "namespace" ];
  known = [ "image" "configuration" "credentials" "deployRestic" "restic" "deployNodeAgent" "nodeAgent" "initContainers" "metrics" "resources" "schedules" "snapshotsEnabled" "backupsEnabled" "nodeSelector" "tolerations" "affinity" "priorityClassName" ] ++ aboutTheChart;
  knownConfiguration = [ "backupStorageLocation" "volumeSnapshotLocation" "uploaderType" "defaultVolumesToFsBackup" "defaultBackupTTL" "logLevel" "provider" ];
  knownAgent = [ "podVolumePath" "privileged" "resources" "nodeSelector" "tolerations" "priorityClassName" ];
  unread = where: names: set: map (name: "${where}${name} is not read") (filter (name: !(elem name names)) (attrNames set));

  isPlugin = container: builtins.match ".*velero-plugin-for-.*" (container.image or "") != null;
in
{
  settings = {
    locations = listToAttrs (map (l: { name = l.name or "default"; value = location l; }) locations);
    schedules = listToAttrs (map (name: { inherit name; value = schedule name; }) (attrNames (values.schedules or { })));
    credentials = rename "existingSecret" "secretName" (values.credentials or { });
    server = pick [ "resources" "nodeSelector" "tolerations" "affinity" "priorityClassName" ] values // pick [ "logLevel" ] configuration;
    agent = pick (filter (name: name != "privileged") knownAgent) agent
      // (if isRestic then { enable = true; name = "restic"; } else rename "deployNodeAgent" "enable" values);
    monitoring = (if isTrue (metrics.enabled or false) && isTrue (monitor.enabled or false) then { enable = true; } else { })
      // rename "additionalLabels" "labels" monitor;
  } // (if isRestic then { uploaderType = "restic"; } else pick [ "uploaderType" ] configuration);

  warnings = concatLists [
    (when (values ? image)
      "values.image is Velero's image: not read; set trysail.image to yours")
    (when isRestic
      "values.deployRestic aborts since chart 5: read as a node agent whose DaemonSet is named restic and whose repositories lie in restic/")
    (when (!isRestic && !(values ? deployNodeAgent))
      "values.deployNodeAgent is not set: the chart then runs no node agent and saves no files; here one runs")
    (when (isTrue (agent.privileged or false))
      "values.${if values ? restic then "restic" else "nodeAgent"}.privileged is not needed: the node agent reads with the one right to read")
    (concatMap
      (container: [
        (if isPlugin container then "values.initContainers: ${container.name} is not needed: S3 is built in"
        else "values.initContainers: ${container.name or "a container"} is not read")
      ])
      (values.initContainers or [ ]))
    (when (isAttrs snapshotLocations && snapshotLocations != { })
      "values.configuration.volumeSnapshotLocation is a list in the chart, and keys of a set have no effect there; no snapshots of disks are made here")
    (when (isList snapshotLocations && snapshotLocations != [ ])
      "values.configuration.volumeSnapshotLocation defines a location, whatever a comment above it says; no snapshots of disks are made here")
    (when (isTrue (values.snapshotsEnabled or false))
      "values.snapshotsEnabled has no effect: files are read instead")
    (when (!(configuration ? defaultVolumesToFsBackup))
      "values.configuration.defaultVolumesToFsBackup is not set: the chart then saves the files of annotated volumes alone; here those of all claims")
    (when (values ? credentials.secretContents && values.credentials.secretContents != { })
      "values.credentials.secretContents has readable secrets: not read; write credentials.accessKeyId and secretAccessKey as references")
    (when (isAttrs (values.credentials or null) && values.credentials ? useSecret && !(isTrue values.credentials.useSecret))
      "values.credentials.useSecret is false: rights of the machine are not taken; name a Secret")
    (map (name: "values.schedules.${name}: the Schedule is named ${name}, and no longer velero-${name}") (attrNames (values.schedules or { })))
    (unread "values." known values)
    (unread "values.configuration." knownConfiguration configuration)
    (unread "values.nodeAgent." knownAgent agent)
  ];
}
