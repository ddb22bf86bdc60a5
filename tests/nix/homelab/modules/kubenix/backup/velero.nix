# Backups of the home to the MinIO beside the router.
{ homelab, ... }: {
  trysail = {
    enable = true;
    namespace = homelab.namespaces.backup;
    createNamespace = false;
    emit = [ "crds" "rbac" "workload" "resources" "monitoring" ];
    image = {
      repository = "registry.home.arpa/trysail";
      digest = "sha256:7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730";
    };
    quota = { cpu = "2"; memory = "4Gi"; inherit (homelab) nodes; };
    agent.resources.limits.cpu = "350m";
    credentials.secretName = "velero-s3-credentials";
    locations.default = {
      bucket = "homelab-backup-velero";
      endpoint = "http://10.10.10.209:9000";
      allowInsecure = true;
      region = "sa-east-1";
    };
    schedules.daily-backup = {
      schedule = "0 3 * * *";
      timeZone = "America/Sao_Paulo";
      ttl = "336h";
      excludedNamespaces = [ "rook-ceph" ];
    };
    monitoring = { enable = true; labels = { release = "kube-prometheus-stack"; }; };
  };
}
