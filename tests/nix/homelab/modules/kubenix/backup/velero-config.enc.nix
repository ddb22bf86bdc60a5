# The Secret alone: what this renders is sealed as a whole.
{ homelab, ... }: {
  trysail = {
    enable = true;
    namespace = homelab.namespaces.backup;
    emit = [ "secrets" ];
    credentials = {
      secretName = "velero-s3-credentials";
      accessKeyId = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id";
      secretAccessKey = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key";
    };
  };
}
