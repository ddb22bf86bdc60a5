# What pods may do: each line of the posture, for server and node agent.
{ ofKind, settings, ... }:
let
  inherit (builtins) concatMap elem filter head map;
  inherit (settings) minimal with_;
  pod = kind: modules: (head (ofKind kind modules)).spec.template.spec;
  container = kind: modules: head (pod kind modules).containers;
  both = f: map f [ "Deployment" "DaemonSet" ];
  hostPaths = kind: modules: map (volume: volume.hostPath.path) (filter (volume: volume ? hostPath) (pod kind modules).volumes);
  mountsOf = modules: filter (mount: builtins.match "host-.*" mount.name != null) (container "DaemonSet" modules).volumeMounts;
in
{
  "no container is privileged, gains rights, or writes its own files" = {
    found = both (kind: { inherit ((container kind [ minimal ]).securityContext) allowPrivilegeEscalation privileged readOnlyRootFilesystem; });
    expected = builtins.genList (_: { allowPrivilegeEscalation = false; privileged = false; readOnlyRootFilesystem = true; }) 2;
  };
  "the server is nobody and has no capability" = {
    found = { inherit ((pod "Deployment" [ minimal ]).securityContext) runAsNonRoot runAsUser; inherit ((container "Deployment" [ minimal ]).securityContext) capabilities; };
    expected = { runAsNonRoot = true; runAsUser = 65532; capabilities.drop = [ "ALL" ]; };
  };
  "the node agent keeps the right to read every file, and what it needs to become nobody" = {
    found = (container "DaemonSet" [ minimal ]).securityContext.capabilities;
    expected = { add = [ "DAC_READ_SEARCH" "SETGID" "SETPCAP" "SETUID" ]; drop = [ "ALL" ]; };
  };
  "system calls are those of the runtime's profile" = {
    found = both (kind: (pod kind [ minimal ]).securityContext.seccompProfile.type);
    expected = [ "RuntimeDefault" "RuntimeDefault" ];
  };
  "no pod shares a namespace of its node" = {
    found = both (kind: map (name: (pod kind [ minimal ]).${name} or false) [ "hostNetwork" "hostPID" "hostIPC" ]);
    expected = [ [ false false false ] [ false false false ] ];
  };
  "the server sees no directory of its node, the node agent those of volumes, read-only" = {
    found = { server = hostPaths "Deployment" [ minimal ]; agent = hostPaths "DaemonSet" [ minimal ]; readOnly = map (mount: mount.readOnly) (mountsOf [ minimal ]); };
    expected = { server = [ ]; agent = [ "/var/lib/kubelet/pods" ]; readOnly = [ true ]; };
  };
  "base paths of local volumes are where they are on the node, each once, and both programs are told" = {
    found =
      let modules = with_ { agent = { hostPaths = [ "/srv/volumes" "/var/openebs/local" ]; concurrency = 1; uploadRate = 5000000; }; openebs.enable = true; }; in
      map (mount: "${mount.name} ${mount.mountPath} ${if mount.readOnly then "ro" else "rw"}") (mountsOf modules) ++ (container "DaemonSet" modules).args ++ (container "Deployment" modules).args;
    expected = [
      "host-path-0 /srv/volumes ro"
      "host-path-1 /var/openebs/local ro"
      "host-pods /host_pods ro"
      "node-agent"
      "server"
      "--host-path=/srv/volumes"
      "--host-path=/var/openebs/local"
      "--concurrency=1"
      "--upload-rate=5000000"
      "server"
      "--host-path=/srv/volumes"
      "--host-path=/var/openebs/local"
    ];
  };
  "every container has limits of memory and of its disk" = {
    found = both (kind: {
      memory = (container kind [ minimal ]).resources.limits.memory;
      disk = concatMap (volume: if volume ? emptyDir then [ volume.emptyDir.sizeLimit ] else [ ]) (pod kind [ minimal ]).volumes;
    });
    expected = [{ memory = "256Mi"; disk = [ "1Gi" ]; } { memory = "256Mi"; disk = [ "1Gi" ]; }];
  };
  "health is asked for where it is told" = {
    found = both (kind: map (probe: (container kind [ minimal ]).${probe}.httpGet) [ "livenessProbe" "readinessProbe" ]);
    expected = builtins.genList (_: [{ path = "/livez"; port = "http-monitoring"; } { path = "/readyz"; port = "http-monitoring"; }]) 2;
  };
  "labels are those that commands of Velero's documentation select by" = {
    found = map (kind: let labels = (head (ofKind kind [ minimal ])).spec.template.metadata.labels; in map (name: labels.${name} or "") [ "component" "name" "role" ])
      [ "Deployment" "DaemonSet" ];
    expected = [ [ "velero" "" "" ] [ "velero" "node-agent" "node-agent" ] ];
  };
  "selectors are among the labels of their pods, and those of the other workload are not" = {
    found =
      let
        specs = map (kind: (head (ofKind kind [ minimal ])).spec) [ "Deployment" "DaemonSet" ];
        matches = selector: labels: builtins.all (name: (labels.${name} or null) == selector.${name}) (builtins.attrNames selector);
      in
      map (one: map (other: matches one.selector.matchLabels other.template.metadata.labels) specs) specs;
    expected = [ [ true false ] [ false true ] ];
  };
  "an image has its tag and its digest" = {
    found = map (extra: (container "Deployment" (with_ extra)).image) [{ } { image = { inherit (settings) digest; }; }];
    expected = [ "registry.home.arpa/trysail:0.1.0" "registry.home.arpa/trysail:0.1.0@${settings.digest}" ];
  };
  "without a node agent nothing of it is rendered" = {
    found = filter (kind: elem kind [ "DaemonSet" "PodMonitor" ])
      (concatMap (kind: map (object: object.kind) (ofKind kind (with_ { agent.enable = false; monitoring.enable = true; }))) [ "DaemonSet" "PodMonitor" "Deployment" ]);
    expected = [ ];
  };
}
