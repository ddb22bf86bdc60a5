# Who may do what, as ../../tests/scenarios/rendered.rs compares it with what was used. The server's right to read everything and to create everything is what backups and restores are made
# of: whoever owns its token owns the cluster. The node agent can read its work, its credential, and what says where
# on its node a volume lies.
cfg:
let
  metadata = import ./metadata.nix cfg;
  optional = condition: value: if condition then [ value ] else [ ];
  inherit (builtins) concatMap attrNames filter;

  rule = apiGroups: resources: verbs: { inherit apiGroups resources verbs; };

  binding = kind: component: name: account: {
    apiVersion = "rbac.authorization.k8s.io/v1";
    kind = "${kind}Binding";
    metadata = (if kind == "ClusterRole" then metadata.clusterWide else metadata.inNamespace) component name;
    roleRef = { apiGroup = "rbac.authorization.k8s.io"; inherit kind name; };
    subjects = [{ kind = "ServiceAccount"; name = account; inherit (cfg) namespace; }];
  };

  account = component: name: {
    apiVersion = "v1";
    kind = "ServiceAccount";
    metadata = metadata.inNamespace component name;
  };

  role = kind: component: name: rules: {
    apiVersion = "rbac.authorization.k8s.io/v1";
    inherit kind rules;
    metadata = (if kind == "ClusterRole" then metadata.clusterWide else metadata.inNamespace) component name;
  };

  # Cluster-wide: objects are read for backups and written for restores.
  serverEverywhere = [
    (rule [ "*" ] [ "*" ] [ "create" "get" "list" "patch" ])
    # Those that hold a claim while it is read or filled.
    (rule [ "" ] [ "pods" ] [ "delete" ])
  ]
  ++ optional cfg.server.escalate (rule [ "rbac.authorization.k8s.io" ] [ "clusterroles" "roles" ] [ "bind" "escalate" ])
  ++ optional cfg.server.impersonate (rule [ "" ] [ "serviceaccounts" ] [ "impersonate" ]);

  # In its own namespace: its objects, the Leases of server and node agents, its keys, settings of restores, its own pod, and
  # the Jobs of restores.
  serverHere = [
    (rule [ "velero.io" ] [ "*" ] [ "create" "delete" "get" "list" "patch" "watch" ])
    (rule [ "coordination.k8s.io" ] [ "leases" ] [ "create" "get" "list" "update" ])
    (rule [ "" ] [ "secrets" ] [ "create" "get" "update" ])
    (rule [ "" ] [ "configmaps" ] [ "list" ])
    (rule [ "" ] [ "pods" ] [ "get" ])
    (rule [ "batch" ] [ "jobs" ] [ "create" "delete" "get" ])
    (rule [ "events.k8s.io" ] [ "events" ] [ "create" "patch" ])
  ];

  credentials = map (name: cfg.locations.${name}.credential.name)
    (filter (name: cfg.locations.${name}.credential != null) (attrNames cfg.locations));
  secretNames = builtins.attrNames (builtins.listToAttrs
    (map (name: { inherit name; value = null; }) ([ cfg.credentials.secretName ] ++ credentials)));

  # Cluster-wide names are shared by all installations of a cluster.
  agentName = "${cfg.name}-${cfg.agent.name}";

  # From a pod to its claim to its volume: one by one, by name.
  agentEverywhere = [ (rule [ "" ] [ "persistentvolumeclaims" "persistentvolumes" "pods" ] [ "get" ]) ];

  agentHere = [
    (rule [ "velero.io" ] [ "podvolumebackups" ] [ "get" "list" "patch" "watch" ])
    (rule [ "velero.io" ] [ "backupstoragelocations" ] [ "get" ])
    (rule [ "coordination.k8s.io" ] [ "leases" ] [ "create" "patch" ])
    ((rule [ "" ] [ "secrets" ] [ "get" ]) // { resourceNames = secretNames; })
  ];
in
[
  (account "server" cfg.name)
  (role "ClusterRole" "server" cfg.name serverEverywhere)
  (binding "ClusterRole" "server" cfg.name cfg.name)
  (role "Role" "server" cfg.name serverHere)
  (binding "Role" "server" cfg.name cfg.name)
]
++ concatMap (x: x) (optional cfg.agent.enable [
  (account "agent" cfg.agent.name)
  (role "ClusterRole" "agent" agentName agentEverywhere)
  (binding "ClusterRole" "agent" agentName cfg.agent.name)
  (role "Role" "agent" cfg.agent.name agentHere)
  (binding "Role" "agent" cfg.agent.name cfg.agent.name)
])
