# Secrets have places here, and no values.
{ evaluate, fails, ofKind, settings, ... }:
let
  inherit (settings) minimal references with_;
  cfg = extra: (evaluate (with_ { credentials = extra; })).credentials;
in
{
  "a reference becomes a file of AWS credentials, unread" = {
    found = map (secret: { inherit (secret) stringData type; inherit (secret.metadata) name namespace; }) (ofKind "Secret" [ minimal references ]);
    expected = [
      {
        name = "velero-s3-secret";
        namespace = "velero";
        type = "Opaque";
        stringData.cloud = "[default]\naws_access_key_id = ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id\naws_secret_access_key = ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_secret_access_key\n";
      }
    ];
  };
  "name and key of the Secret are those that are asked for" = {
    found = map (secret: { inherit (secret.metadata) name; keys = builtins.attrNames secret.stringData; })
      (ofKind "Secret" [ minimal references { trysail.credentials = { secretName = "velero-s3-credentials"; key = "minio"; }; } ]);
    expected = [{ name = "velero-s3-credentials"; keys = [ "minio" ]; }];
  };
  "without references no Secret is rendered" = { found = ofKind "Secret" [ minimal ]; expected = [ ]; };
  "everything but a reference is refused" = {
    found = map (value: fails (cfg { accessKeyId = value; }).accessKeyId) [ "AKIAEXAMPLE" "ref+sops://" 7 { a = 1; } [ "ref+sops://a#b" ] true "ref+sops://a#b\nAKIAEXAMPLE" ];
    expected = builtins.genList (_: true) 7;
  };
  "two equal references are one, and two different ones are refused" = {
    found = map (second: fails (evaluate [ minimal references { trysail.credentials.accessKeyId = second; } ]).credentials.accessKeyId)
      [ "ref+sops://secrets/k8s-secrets.enc.yaml#minio_velero_access_key_id" "ref+sops://another#key" ];
    expected = [ false true ];
  };
}
