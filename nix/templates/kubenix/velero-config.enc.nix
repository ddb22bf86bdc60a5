# The Secret alone, so that it is sealed alone.
{
  trysail = {
    enable = true;
    emit = [ "secrets" ];
    credentials.accessKeyId = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id";
    credentials.secretAccessKey = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key";
  };
}
