# Service, monitors, alerts and dashboard, for Prometheus' operator and Grafana's sidecar.
cfg:
let
  metadata = import ./metadata.nix cfg;
  present = import ./present.nix;
  inherit (builtins) map toJSON;
  m = cfg.monitoring;

  found = component: name: let base = metadata.inNamespace component name; in base // { labels = base.labels // m.labels; };
  # Of labels that say whose volume it is, those of the pod that tells it must not take the place.
  endpoint = { inherit (m) interval; honorLabels = true; port = "http-monitoring"; };

  alerts = import ./alerts.nix { inherit (cfg) namespace; agent = cfg.agent.name; inherit (m.rules) staleAfter; };
  rule = import ./alert-rules.nix { inherit (m.rules) runbookUrl; };

  service = {
    apiVersion = "v1";
    kind = "Service";
    metadata = metadata.inNamespace "server" cfg.name;
    spec = {
      ports = [{ name = "http-monitoring"; port = 8085; protocol = "TCP"; targetPort = "http-monitoring"; }];
      selector = metadata.selector.server;
    };
  };

  serviceMonitor = {
    apiVersion = "monitoring.coreos.com/v1";
    kind = "ServiceMonitor";
    metadata = found "server" cfg.name;
    spec = { selector.matchLabels = metadata.labels "server"; endpoints = [ endpoint ]; };
  };

  podMonitor = {
    apiVersion = "monitoring.coreos.com/v1";
    kind = "PodMonitor";
    metadata = found "agent" cfg.agent.name;
    spec = { selector.matchLabels = metadata.selector.agent; podMetricsEndpoints = [ endpoint ]; };
  };

  rules = {
    apiVersion = "monitoring.coreos.com/v1";
    kind = "PrometheusRule";
    metadata = found "alerts" cfg.name // { annotations = metadata.noSubstitution; };
    spec.groups = [{ name = "trysail"; rules = map rule alerts ++ m.rules.extra; }];
  };

  dashboard = {
    apiVersion = "v1";
    kind = "ConfigMap";
    metadata = let base = metadata.inNamespace "dashboard" "${cfg.name}-dashboard"; in base // {
      labels = base.labels // m.dashboard.labels;
      annotations = metadata.noSubstitution // present { grafana_folder = m.dashboard.folder; };
    };
    data."trysail.json" = toJSON (import ./dashboard.nix);
  };

  # Velero's chart has its own way to the server.
  isChart = cfg.flux.enable && cfg.flux.workload == "helmrelease";

  optional = condition: object: if condition then [ object ] else [ ];
in
if !m.enable then [ ] else
optional (!isChart) service
++ optional (!isChart) serviceMonitor
++ optional cfg.agent.enable podMonitor
++ optional m.rules.enable rules
++ optional m.dashboard.enable dashboard
