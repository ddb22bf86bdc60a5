# `nix run .#manifests -- SETTINGS.nix [DIRECTORY]`: renders a module of settings below a directory, this one by default.
{ jq, library, nix, source, version, writeShellScript }:
writeShellScript "manifests" ''
  set -euo pipefail
  PATH=${jq}/bin:${nix}/bin:$PATH
  if [ $# -lt 1 ]; then echo "usage: manifests SETTINGS.nix [DIRECTORY]" >&2; exit 2; fi
  nix-instantiate --eval --strict --json \
    --arg settings "$(realpath -- "$1")" \
    --expr '{ settings }: (import ${source}/nix { lib = import ${library}; }).files [ settings ({ lib, ... }: { trysail.image.tag = lib.mkDefault "${version}"; }) ]' |
    sh ${source}/nix/write-files "''${2:-.}"
''
