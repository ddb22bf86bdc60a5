# Everything but the Secret.
{
  trysail = {
    enable = true;
    emit = [ "namespace" "crds" "rbac" "workload" "resources" ];
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
  };
}
