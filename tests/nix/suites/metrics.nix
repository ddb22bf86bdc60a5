# Alerts and dashboard ask for metrics that somebody serves.
{ evaluate, settings, ... }:
let
  inherit (builtins) attrNames concatMap elem filter fromJSON isString listToAttrs map match readFile split;
  known = fromJSON (readFile ../../../nix/generated/metrics.json);
  names = known.served ++ known.wanted ++ known.of_others;
  alerts = import ../../../nix/core/alerts.nix { namespace = "velero"; agent = "node-agent"; staleAfter = "26h"; };
  dashboard = import ../../../nix/core/dashboard.nix;
  expressions = map (alert: alert.expr) alerts ++ concatMap (panel: map (target: target.expr) panel.targets) dashboard.panels;

  # Words with a prefix of ours or of kube-state-metrics.
  named = expression: filter (word: isString word && match "(velero|trysail|podVolume|kube)_.*" word != null) (split "[^A-Za-z0-9_]+" expression);
  used = attrNames (listToAttrs (map (name: { inherit name; value = null; }) (concatMap named expressions)));
in
{
  "every metric that is asked for is known" = { found = filter (name: !(elem name names)) used; expected = [ ]; };
  "no metric is listed that nobody asks for" = { found = filter (name: !(elem name used)) names; expected = [ ]; };
  "each alert says what is so and what to do" = {
    found = filter (alert: alert.summary == "" || builtins.stringLength alert.runbook < 40) alerts;
    expected = [ ];
  };
  "links lead to the sections of the page of options" = {
    found = map (rule: rule.annotations.runbook_url or "none")
      (builtins.genList
        (builtins.elemAt (builtins.head (builtins.head (filter (object: object.kind == "PrometheusRule")
          (evaluate (settings.with_ { monitoring = { enable = true; rules.runbookUrl = "https://x/README.md"; }; })).parts.monitoring)).spec.groups).rules) 2);
    expected = [ "https://x/README.md#velerobackupfailed" "https://x/README.md#velerobackupfailing" ];
  };
}
