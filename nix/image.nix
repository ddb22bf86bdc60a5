# The image: one static program, roots of certificates, and no shell. The result is a program that writes the image to
# standard output, as `$(nix build --print-out-paths .#image) | skopeo copy docker-archive:/dev/stdin docker://…` takes it.
{ cacert, dockerTools, runCommand, trysail, version }:
let
  # Names at the root, where manifests of stock Velero look for theirs.
  root = runCommand "trysail-root" { } ''
    mkdir $out
    cp ${trysail}/bin/trysail $out/trysail
    ln -s trysail $out/velero
    ln -s trysail $out/velero-restore-helper
  '';
in
dockerTools.streamLayeredImage {
  name = "trysail";
  tag = version;
  contents = [ cacert root ];
  extraCommands = "mkdir -m 1777 tmp";
  # The same program is the same image, whenever it is built.
  created = "1970-01-01T00:00:01Z";
  config = {
    Entrypoint = [ "/velero" ];
    Env = [ "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt" ];
    User = "65532:65532";
    Labels = { "org.opencontainers.image.version" = version; "org.opencontainers.image.licenses" = "Apache-2.0"; };
  };
}
