# The Deployment of the server, the DaemonSet of the node agent, and what may reach them. Each pod has the least rights
# with which its work can be done.
cfg:
let
  metadata = import ./metadata.nix cfg;
  present = import ./present.nix;
  inherit (builtins) attrNames concatLists elemAt filter listToAttrs map match toString;

  # Lists are ordered by name: kubenix keeps them as sets, and both ways shall give the same bytes.
  byName = builtins.sort (a: b: a.name < b.name);

  image = let i = cfg.image; in
    i.repository
    + (if i.tag == null then "" else ":${i.tag}")
    + (if i.digest == null then "" else "@${i.digest}");

  fromField = name: fieldPath: { inherit name; valueFrom.fieldRef = { inherit fieldPath; }; };
  environment = extra: [
    { name = "AWS_SHARED_CREDENTIALS_FILE"; value = "/credentials/${cfg.credentials.key}"; }
    { name = "TMPDIR"; value = "/scratch"; }
    (fromField "VELERO_NAMESPACE" "metadata.namespace")
    { name = "VELERO_SCRATCH_DIR"; value = "/scratch"; }
  ] ++ extra;

  volumes = scratchSize: [
    # Optional: pods shall start, and say what is missing where people look. 256 is 0400, to which Kubernetes adds the
    # right of the pod's group, if there is one.
    { name = "cloud-credentials"; secret = { defaultMode = 256; secretName = cfg.credentials.secretName; optional = true; }; }
    { name = "scratch"; emptyDir.sizeLimit = scratchSize; }
  ];
  mounts = [
    { name = "cloud-credentials"; mountPath = "/credentials"; readOnly = true; }
    { name = "scratch"; mountPath = "/scratch"; }
  ];

  container = { name, args, env, resources, securityContext, volumeMounts }: {
    inherit name args image resources volumeMounts;
    command = [ "/velero" ];
    env = byName env;
    imagePullPolicy = cfg.image.pullPolicy;
    livenessProbe = {
      httpGet = { path = "/livez"; port = "http-monitoring"; };
      failureThreshold = 5;
      periodSeconds = 30;
      timeoutSeconds = 5;
    };
    ports = [{ name = "http-monitoring"; containerPort = 8085; protocol = "TCP"; }];
    readinessProbe = {
      httpGet = { path = "/readyz"; port = "http-monitoring"; };
      periodSeconds = 10;
      timeoutSeconds = 5;
    };
    securityContext = securityContext // {
      allowPrivilegeEscalation = false;
      privileged = false;
      readOnlyRootFilesystem = true;
    };
  };

  pod = { account, labels, spec }: {
    metadata = { inherit labels; };
    spec = present
      {
        imagePullSecrets = map (name: { inherit name; }) cfg.image.pullSecrets;
        serviceAccountName = account;
        terminationGracePeriodSeconds = 60;
      } // present spec;
  };

  logLevel = if cfg.server.logLevel == "info" then [ ] else [ "--log-level=${cfg.server.logLevel}" ];

  # The identity as which a process runs, and its system calls.
  seccomp = { seccompProfile.type = "RuntimeDefault"; };
  nobody = 65532;

  server = {
    apiVersion = "apps/v1";
    kind = "Deployment";
    metadata = metadata.inNamespace "server" cfg.name;
    spec = {
      replicas = cfg.server.replicas;
      selector.matchLabels = metadata.selector.server;
      # No further pod while one is replaced: a quota may have no room for it.
      strategy = { type = "RollingUpdate"; rollingUpdate = { maxSurge = 0; maxUnavailable = 1; }; };
      template = pod {
        account = cfg.name;
        labels = metadata.labels "server";
        spec = {
          inherit (cfg.server) affinity nodeSelector priorityClassName tolerations;
          containers = [
            (container {
              name = "velero";
              args = [ "server" ]
                ++ map (base: "--host-path=${base.path}") numbered
                ++ (if cfg.uploaderType == "kopia" then [ ] else [ "--uploader-type=${cfg.uploaderType}" ])
                ++ (if cfg.server.expireLastBackup then [ "--expire-last-backup" ] else [ ])
                ++ logLevel ++ cfg.server.extraArgs;
              env = environment ([ (fromField "POD_NAME" "metadata.name") ] ++ cfg.server.extraEnv);
              inherit (cfg.server) resources;
              securityContext = { capabilities.drop = [ "ALL" ]; };
              volumeMounts = mounts;
            })
          ];
          securityContext = { fsGroup = nobody; runAsGroup = nobody; runAsNonRoot = true; runAsUser = nobody; } // seccomp;
          volumes = volumes "1Gi";
        };
      };
    };
  };

  # Directories of the node: the kubelet's of pods, and base paths of local volumes, which are where they are on the node.
  bases = attrNames (listToAttrs (map (path: { name = path; value = null; }) (cfg.agent.hostPaths ++ classPaths)));
  classPaths = if !cfg.openebs.enable then [ ] else map (name: cfg.openebs.classes.${name}.basePath) (attrNames cfg.openebs.classes);
  numbered = builtins.genList (i: { name = "host-path-${toString i}"; path = elemAt bases i; }) (builtins.length bases);
  fromHost = name: mountPath: { inherit name mountPath; mountPropagation = "HostToContainer"; readOnly = true; };

  agent = {
    apiVersion = "apps/v1";
    kind = "DaemonSet";
    metadata = metadata.inNamespace "agent" cfg.agent.name;
    spec = {
      selector.matchLabels = metadata.selector.agent;
      template = pod {
        account = cfg.agent.name;
        labels = metadata.labels "agent" // { name = cfg.agent.name; role = "node-agent"; };
        spec = {
          inherit (cfg.agent) nodeSelector priorityClassName tolerations;
          containers = [
            (container {
              name = "node-agent";
              args = [ "node-agent" "server" ]
                ++ map (base: "--host-path=${base.path}") numbered
                ++ (if cfg.agent.concurrency == null then [ ] else [ "--concurrency=${toString cfg.agent.concurrency}" ])
                ++ (if cfg.agent.uploadRate == null then [ ] else [ "--upload-rate=${toString cfg.agent.uploadRate}" ])
                ++ logLevel ++ cfg.agent.extraArgs;
              env = environment ([ (fromField "NODE_NAME" "spec.nodeName") (fromField "POD_NAME" "metadata.name") ] ++ cfg.agent.extraEnv);
              inherit (cfg.agent) resources;
              # It starts as root, keeps the right to read every file, and drops itself to nobody: Kubernetes gives no
              # such right to others than root.
              securityContext.capabilities = { add = [ "DAC_READ_SEARCH" "SETGID" "SETPCAP" "SETUID" ]; drop = [ "ALL" ]; };
              volumeMounts = byName (mounts
                ++ [ (fromHost "host-pods" "/host_pods") ]
                ++ map (base: fromHost base.name base.path) numbered);
            })
          ];
          securityContext = { runAsUser = 0; } // seccomp;
          volumes = byName (volumes cfg.agent.scratchSize
            ++ [{ name = "host-pods"; hostPath.path = cfg.agent.podVolumePath; }]
            ++ map (base: { inherit (base) name; hostPath = { inherit (base) path; type = "DirectoryOrCreate"; }; }) numbered);
        };
      };
      updateStrategy = { type = "RollingUpdate"; rollingUpdate.maxUnavailable = cfg.agent.maxUnavailable; };
    };
  };

  # Ports of stores. A policy knows no names of hosts, so ports are all that it can hold them to.
  endpoints = filter (endpoint: endpoint != null) (map (name: cfg.locations.${name}.endpoint) (attrNames cfg.locations));
  portOf = endpoint:
    let parts = match (import ./patterns.nix).urlParts endpoint;
    in if elemAt parts 1 != null then builtins.substring 1 (-1) (elemAt parts 1)
    else if elemAt parts 0 == "https" then "443" else "80";
  ports = attrNames (listToAttrs (map (name: { inherit name; value = null; }) ([ "443" "6443" ] ++ map portOf endpoints)));

  networkPolicy = component: name: podLabels: {
    apiVersion = "networking.k8s.io/v1";
    kind = "NetworkPolicy";
    metadata = metadata.inNamespace component name;
    spec = {
      podSelector.matchLabels = podLabels;
      policyTypes = [ "Ingress" "Egress" ];
      ingress = [{ ports = [{ port = 8085; protocol = "TCP"; }]; }];
      egress = [
        { ports = [{ port = 53; protocol = "UDP"; } { port = 53; protocol = "TCP"; }]; }
        { ports = map (port: { port = builtins.fromJSON port; protocol = "TCP"; }) ports; }
      ];
    };
  };
  policies = [ (networkPolicy "server" cfg.name metadata.selector.server) ]
    ++ (if cfg.agent.enable then [ (networkPolicy "agent" cfg.agent.name metadata.selector.agent) ] else [ ]);
in
concatLists [
  [ server ]
  (if cfg.agent.enable then [ agent ] else [ ])
  (if cfg.networkPolicy.enable then policies else [ ])
]
