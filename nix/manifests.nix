# Files as a directory. None of them holds a secret: settings have references alone.
{ files, jq, runCommand }:
runCommand "trysail-manifests" { nativeBuildInputs = [ jq ]; json = builtins.toJSON files; passAsFile = [ "json" ]; } ''
  sh ${./write-files} $out < $jsonPath
''
