# All objects by part, whatever `emit` says.
cfg: {
  namespace = import ./namespace.nix cfg;
  crds = (import ./definitions.nix).render cfg;
  rbac = import ./rbac.nix cfg;
  workload = import ./workload.nix cfg;
  secrets = import ./secrets.nix cfg;
  resources = import ./resources.nix cfg;
  monitoring = import ./monitoring.nix cfg;
  storage = import ./storage.nix cfg;
}
