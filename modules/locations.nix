# Buckets: each location becomes a BackupStorageLocation.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };

  location = {
    options = {
      bucket = mkOption {
        type = t.bucket;
        example = "homelab-backup-velero";
        description = "Name of the bucket.";
      };

      prefix = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "velero";
        description = "What all keys begin with. Two clusters in one bucket need two prefixes.";
      };

      endpoint = mkOption {
        type = types.nullOr t.url;
        default = null;
        example = "https://minio.home.arpa:9000";
        description = "Where the store answers; Amazon S3 where null.";
      };

      publicEndpoint = mkOption {
        type = types.nullOr t.url;
        default = null;
        example = "https://minio.home.arpa";
        description = "Where the command line reaches the store, if that is not `endpoint`.";
      };

      region = mkOption {
        type = types.str;
        default = "us-east-1";
        example = "sa-east-1";
        description = "The region that requests are signed for. A MinIO that was told one refuses all others.";
      };

      forcePathStyle = mkOption {
        type = types.bool;
        default = true;
        example = false;
        description = "Whether the bucket stands in the path of URLs. MinIO needs it.";
      };

      allowInsecure = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether an `endpoint` of http:// is meant. Whoever is on that network can then read what is not encrypted for recipients, and change anything.";
      };

      insecureSkipTLSVerify = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether any certificate is believed. `caCertRef` is the better way to a store with a certificate of your own.";
      };

      caCertRef = mkOption {
        type = types.nullOr (types.submodule {
          options = {
            name = mkOption {
              type = t.subdomain;
              example = "home-ca";
              description = "Name of the Secret.";
            };
            key = mkOption {
              type = types.str;
              default = "ca.crt";
              example = "ca.pem";
              description = "The key within it.";
            };
          };
        });
        default = null;
        example = { name = "home-ca"; };
        description = "Secret with the PEM certificates of who signed the store's certificate.";
      };

      accessMode = mkOption {
        type = types.enum [ "ReadWrite" "ReadOnly" ];
        default = "ReadWrite";
        example = "ReadOnly";
        description = "What may be done there. A second cluster that shall only restore reads.";
      };

      default = mkOption {
        type = types.nullOr types.bool;
        default = null;
        example = true;
        description = "Whether it is taken where no location is named. Null: yes, where it is called `default` or the only one.";
      };

      credential = mkOption {
        type = types.nullOr (types.submodule {
          options = {
            name = mkOption {
              type = t.subdomain;
              example = "offsite-s3";
              description = "Name of the Secret.";
            };
            key = mkOption {
              type = types.str;
              default = "cloud";
              example = "cloud";
              description = "The key within it, with a file of AWS credentials.";
            };
          };
        });
        default = null;
        example = { name = "offsite-s3"; };
        description = "Secret of this location, where it is not the one of `credentials`.";
      };

      recipients = mkOption {
        type = types.nullOr (types.listOf t.recipient);
        default = null;
        example = [ "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p" ];
        description = "For whom new repositories here are encrypted; those of `encryption.recipients` where null.";
      };

      validationFrequency = mkOption {
        type = types.nullOr t.duration;
        default = null;
        example = "1h";
        description = "How often it is looked at; every minute where null.";
      };

      syncPeriod = mkOption {
        type = types.nullOr t.duration;
        default = null;
        example = "10m";
        description = "How often backups that others stored there are taken over; every minute where null.";
      };

      config = mkOption {
        type = types.attrsOf types.str;
        default = { };
        example = { profile = "writer"; };
        description = "Further entries of `spec.config`.";
      };
    };
  };
in
{
  options.trysail.locations = mkOption {
    type = types.attrsOf (types.submodule location);
    default = { };
    example = { default = { bucket = "homelab-backup"; endpoint = "https://minio.home.arpa:9000"; }; };
    description = "Where backups lie, by name.";
  };
}
