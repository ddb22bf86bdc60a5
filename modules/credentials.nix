# The Secret with which stores are reached. Only places of secrets can be said here, never secrets.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };
in
{
  options.trysail.credentials = {
    secretName = mkOption {
      type = t.subdomain;
      default = "velero-s3-secret";
      example = "velero-s3-credentials";
      description = "Name of the Secret.";
    };

    key = mkOption {
      type = types.str;
      default = "cloud";
      example = "cloud";
      description = "The key within it, with a file of AWS credentials.";
    };

    accessKeyId = mkOption {
      type = types.nullOr t.reference;
      default = null;
      example = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id";
      description = "Where the access key id is. With both null, the Secret comes from elsewhere: a sealed file, or another operator.";
    };

    secretAccessKey = mkOption {
      type = types.nullOr t.reference;
      default = null;
      example = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key";
      description = "Where the secret access key is.";
    };

    sopsFiles = mkOption {
      type = types.listOf t.file;
      default = [ ];
      example = [ "./velero-s3-secret.sops.yaml" ];
      description = "Sealed files for the tree of `flux`: copied as they are, and refused if anything in them is readable.";
    };
  };
}
