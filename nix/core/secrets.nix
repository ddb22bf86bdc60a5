# The Secret with which stores are reached, as references. `trysail secrets seal`, or `vals` and `sops`, make ciphertext of it.
cfg:
let
  metadata = import ./metadata.nix cfg;
  c = cfg.credentials;
in
if c.accessKeyId == null && c.secretAccessKey == null then [ ] else [
  {
    apiVersion = "v1";
    kind = "Secret";
    metadata = metadata.inNamespace "credentials" c.secretName;
    type = "Opaque";
    stringData.${c.key} = ''
      [default]
      aws_access_key_id = ${c.accessKeyId}
      aws_secret_access_key = ${c.secretAccessKey}
    '';
  }
]
