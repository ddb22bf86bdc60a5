# What Prometheus and Grafana are told.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };
in
{
  options.trysail.monitoring = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether a Service, a ServiceMonitor, a PodMonitor, alerts and a dashboard are rendered. Prometheus' operator must be there.";
    };

    interval = mkOption {
      type = t.duration;
      default = "30s";
      example = "1m";
      description = "How often Prometheus asks.";
    };

    labels = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { release = "kube-prometheus-stack"; };
      description = "Labels by which Prometheus finds monitors and alerts.";
    };

    rules = {
      enable = mkOption {
        type = types.bool;
        default = true;
        example = false;
        description = "Whether alerts are rendered.";
      };

      staleAfter = mkOption {
        type = t.duration;
        default = "26h";
        example = "50h";
        description = "How old the last complete backup of a schedule may be.";
      };

      runbookUrl = mkOption {
        type = types.str;
        default = "";
        example = "https://git.home.arpa/trysail/modules/README.md";
        description = "Address of the page with a section for each alert, as the end of modules/README.md is. What to do stands in each alert besides; there is no link where this is empty.";
      };

      extra = mkOption {
        type = types.listOf types.attrs;
        default = [ ];
        example = [{ alert = "Mine"; expr = "vector(1)"; }];
        description = "Further rules of the group.";
      };
    };

    dashboard = {
      enable = mkOption {
        type = types.bool;
        default = true;
        example = false;
        description = "Whether the dashboard is rendered.";
      };

      labels = mkOption {
        type = types.attrsOf types.str;
        default = { grafana_dashboard = "1"; };
        example = { grafana_dashboard = "1"; };
        description = "Labels by which Grafana finds it.";
      };

      folder = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "Backups";
        description = "Its folder in Grafana, as annotation `grafana_folder`.";
      };
    };
  };
}
