# Settings of Trysail. `make` renders them to kubernetes/apps/velero.
{
  trysail = {
    enable = true;
    image.repository = "registry.home.arpa/trysail";
    image.tag = "0.1.0";

    locations.default = {
      bucket = "backup";
      endpoint = "https://minio.home.arpa:9000";
    };
    schedules.daily = {
      schedule = "0 3 * * *";
      timeZone = "Europe/Berlin";
      ttl = "336h";
    };

    flux = {
      enable = true;
      sourceRef.name = "flux-system";
      decryptionSecret = "sops-age";
    };
    # Made with `sops` or `trysail secrets seal`, then named here:
    # credentials.sopsFiles = [ ./velero-s3-secret.sops.yaml ];
  };
}
