# A home lab as it is: its files, its bucket, its time zone, its quota. Its golden files are what `make manifests` writes.
{ kubenixObjects, ... }:
let
  inherit (builtins) concatMap elem filter head map pathExists;
  root = ../homelab;
  module = name: kubenixObjects [ (root + "/modules/kubenix/_base.nix") (root + "/modules/kubenix/backup/${name}.nix") ];
  velero = module "velero";
  secret = module "velero-config.enc";
  of = kind: head (filter (object: object.kind == kind) velero);
  clusterWide = [ "ClusterRole" "ClusterRoleBinding" "CustomResourceDefinition" ];
in
{
  "the bucket is reached over http because that is meant" = {
    found = { inherit ((of "BackupStorageLocation").spec) config objectStorage; };
    expected = {
      config = { region = "sa-east-1"; s3ForcePathStyle = "true"; s3Url = "http://10.10.10.209:9000"; };
      objectStorage.bucket = "homelab-backup-velero";
    };
  };
  "the schedule is at three in the night of that place, for fourteen days" = {
    found = let object = of "Schedule"; in { inherit (object.spec) schedule; inherit (object.spec.template) ttl; zone = object.metadata.annotations."trysail.io/time-zone"; };
    expected = { schedule = "0 3 * * *"; ttl = "336h"; zone = "America/Sao_Paulo"; };
  };
  "the image is pinned by its digest" = {
    found = map (kind: (head (of kind).spec.template.spec.containers).image) [ "Deployment" "DaemonSet" ];
    expected = builtins.genList (_: "registry.home.arpa/trysail@sha256:7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730") 2;
  };
  "all that is not cluster-wide lies in its namespace" = {
    found = concatMap (object: if elem object.kind clusterWide || object.metadata.namespace == "backup" then [ ] else [ object.metadata.name ]) (velero ++ secret);
    expected = [ ];
  };
  "the sealed file holds the Secret alone, of references" = {
    found = map (object: { inherit (object) kind stringData; }) secret;
    expected = [
      {
        kind = "Secret";
        stringData.cloud = "[default]\naws_access_key_id = ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id\naws_secret_access_key = ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key\n";
      }
    ];
  };
  "no file of secrets is there, so none can have been read" = {
    found = map (name: pathExists (root + "/secrets/${name}")) [ "hosts-secrets.enc.yaml" "k8s-secrets.enc.yaml" ];
    expected = [ false false ];
  };
  "the store in the LAN gets no Service and no Ingress" = {
    found = map (object: object.metadata.name) (filter (object: elem object.kind [ "Service" "Ingress" ]) velero);
    expected = [ "velero" ];
  };
}
