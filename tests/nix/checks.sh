# What each test does that is more than an expression; `run` says when, and counts. Commands run under `set -e`.

evaluate() { nix --extra-experimental-features nix-command eval --store dummy:// --impure --raw --expr "$1"; }
# Each Nix has a store and a state of its own here, so that what is written can be looked through.
isolated() { env NIX_STORE_DIR="$1/store" NIX_STATE_DIR="$1/state" NIX_LOG_DIR="$1/log" "${@:2}"; }

parses() { find flake.nix nix modules tests/nix -name '*.nix' -print0 | xargs -0 nix-instantiate --parse >/dev/null; }

# A home that renders twice has the same files and no difference in Git.
home_renders_twice() (
  rm -rf "$scratch/home" && cp -r tests/nix/homelab "$scratch/home" && cd "$scratch/home"
  render() { make manifests TRYSAIL="$root" EVALUATE="(import $root/tests/nix { }).kubenixObjects" SEAL="$1"; }
  # What a program seals is another matter; here its place and its name are looked at.
  render cp
  echo .rendered >.gitignore
  git init -q && git add . && git -c user.name=x -c user.email=x@x commit -qm x
  render cp
  [ -z "$(git status --porcelain)" ]
  ls .k8s/backup/velero.yaml .k8s/backup/velero-config.enc.yaml
)

# refusal_is_silent LIBRARY EXPRESSION NAMED: it fails, names what it is about, and shows nothing of the secret.
refusal_is_silent() (
  case $1 in /*) library=$1 ;; *) library=./$1 ;; esac
  expression="with import ./tests/nix/settings.nix; (import ./nix { lib = import $library; }).$2"
  if nix-instantiate --eval --strict --show-trace -E "$expression" >"$scratch/told" 2>&1; then echo "it was taken" && exit 1; fi
  if grep -q CANARY "$scratch/told"; then echo "it was shown" && exit 1; fi
  grep -q "$3" "$scratch/told" || { cat "$scratch/told" && exit 1; }
)

# Everything is rendered into a store; of the secrets beside it, only their places are there.
store_has_no_secret() (
  store=$scratch/leak-$1
  mkdir -p "$scratch/leak/secrets" "$store" && cd "$scratch/leak"
  echo 'minio_velero_access_key_id: CANARY' >secrets/k8s-secrets.enc.yaml
  isolated "$store" nix-instantiate --eval --strict --read-write-mode -E "
    with import $root/tests/nix/settings.nix;
    map (object: builtins.toFile \"object\" (builtins.toJSON object)) ((import $root/nix { lib = import $root/tests/nix/double/lib; }).objects [ minimal references ])"
  grep -rqs 'ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id' "$store/store"
  ! grep -rqs CANARY "$store"
)

# The flake on doubles of its inputs: its lock is whole, and what it builds is what the suites render.
flake() {
  local double=path:$scratch/double arguments=() after=()
  for argument in "${@:2}"; do if [ "$argument" = -- ] || [ ${#after[@]} -gt 0 ]; then after+=("$argument"); else arguments+=("$argument"); fi; done
  rm -rf "$scratch/double" && cp -r tests/nix/double "$scratch/double"
  isolated "$scratch/flake-$1" nix --extra-experimental-features 'nix-command flakes' --offline "${arguments[@]}" --no-write-lock-file \
    --option eval-cache false --option substitute false --option sandbox false --option build-users-group '' --override-input nixpkgs "$double" --override-input kubenix "$double" "${after[@]}"
}
source_of_flake() { rm -rf "$scratch/source" && mkdir "$scratch/source" && git ls-files -z -co --exclude-standard flake.nix flake.lock Cargo.toml Cargo.lock nix modules tests/nix secrets | xargs -0 cp --parents -t "$scratch/source"; }
lock_is_whole() { isolated "$scratch/flake-$1" nix --extra-experimental-features 'nix-command flakes' --offline flake metadata --no-update-lock-file "path:$scratch/source"; }
flake_builds_manifests() (
  rm -f "$scratch/result"
  flake "$1" build "path:$scratch/source#manifests-example" --out-link "$scratch/result"
  evaluate 'builtins.toJSON ((import ./nix { lib = import ./tests/nix/double/lib; }).files [ ./nix/templates/flux/trysail.nix ])' 2>/dev/null | sh nix/write-files "$scratch/expected"
  diff -r "$scratch/expected" "$scratch/result/"
)
flake_runs_manifests() (
  rm -rf "$scratch/tree"
  flake "$1" run "path:$scratch/source#manifests" -- nix/templates/flux/trysail.nix "$scratch/tree"
  diff -r "$scratch/expected" "$scratch/tree"
)
flake_has_outputs() (
  for output in 'kubenixModules.default' 'kubenixModules.module' 'lib.chartValues' 'overlays.default' 'templates.flux.path' 'templates.kubenix.path' \
    'apps.x86_64-linux.manifests.program' 'packages.aarch64-linux.crds.drvPath' 'packages.x86_64-linux.docs.drvPath'; do
    flake "$1" eval "path:$scratch/source#$output" --apply 'x: builtins.typeOf x'
  done
)

yaml_is_read_back() { nix-instantiate --eval --strict --json tests/nix/read-back.nix 2>/dev/null | python3 tests/nix/read-back.py; }
alerts_fire() (
  nix-instantiate --eval --strict --json tests/nix/alerts.nix 2>/dev/null | sh nix/write-files "$scratch/alerts"
  promtool check rules "$scratch/alerts/rules.yaml" && promtool test rules "$scratch/alerts/test.yaml"
)
