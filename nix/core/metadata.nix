# Names and labels of what belongs to the installation.
cfg:
let
  labels = component: {
    # On all that stock Velero installs, and what its users select by.
    component = "velero";
    "app.kubernetes.io/name" = "trysail";
    "app.kubernetes.io/instance" = cfg.name;
    "app.kubernetes.io/component" = component;
  };
in
{
  # Where Flux substitutes variables it must not read `${…}` of Grafana, Prometheus and regular expressions as its own.
  noSubstitution = { "kustomize.toolkit.fluxcd.io/substitute" = "disabled"; };

  # Whoever deletes a definition deletes all objects of its kind, which are the records of all backups.
  noPrune = { "kustomize.toolkit.fluxcd.io/prune" = "disabled"; };

  inherit labels;

  # What Deployment, DaemonSet, Services and monitors find pods by. Immutable in Kubernetes, so nothing is added here.
  selector = {
    server = {
      component = "velero";
      "app.kubernetes.io/instance" = cfg.name;
      "app.kubernetes.io/component" = "server";
    };
    agent = {
      name = cfg.agent.name;
      "app.kubernetes.io/instance" = cfg.name;
    };
  };

  clusterWide = component: name: { inherit name; labels = labels component; };
  inNamespace = component: name: { inherit name; inherit (cfg) namespace; labels = labels component; };
}
