# Settings that several suites begin with.
rec {
  image = { repository = "registry.home.arpa/trysail"; tag = "0.1.0"; };
  digest = "sha256:7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730";

  # The least that renders.
  minimal = {
    trysail = {
      enable = true;
      inherit image;
      locations.default = { bucket = "backup"; endpoint = "https://minio.home.arpa:9000"; };
      schedules.daily = { schedule = "0 3 * * *"; };
    };
  };

  references = {
    trysail.credentials = {
      accessKeyId = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id";
      secretAccessKey = "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key";
    };
  };

  # Further settings on top of the least.
  with_ = extra: [ minimal { trysail = extra; } ];
}
