# Alerts as rules of Prometheus. What to do stands in each, so that it is at hand where a link leads nowhere.
{ runbookUrl }:
let
  inherit (builtins) genList replaceStrings stringLength substring;
  letters = text: genList (i: substring i 1 text) (stringLength text);

  # The anchor that renderers of Markdown give to a heading.
  anchor = replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (letters "abcdefghijklmnopqrstuvwxyz");
in
alert: {
  inherit (alert) alert expr for;
  labels = { inherit (alert) severity; };
  annotations = {
    inherit (alert) summary;
    description = alert.runbook;
  } // (if runbookUrl == "" then { } else { runbook_url = "${runbookUrl}#${anchor alert.alert}"; });
}
