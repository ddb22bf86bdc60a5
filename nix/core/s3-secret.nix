# Reads a Secret of the shape S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_ENDPOINT, S3_BUCKET, whose two keys must be
# references, and yields settings.
{ S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_ENDPOINT, S3_BUCKET }:
{
  settings = {
    credentials = { accessKeyId = S3_ACCESS_KEY_ID; secretAccessKey = S3_SECRET_ACCESS_KEY; };
    locations.default = { bucket = S3_BUCKET; endpoint = S3_ENDPOINT; };
  };
  warnings = [ "the Secret gets one key, `cloud`, with a file of AWS credentials: endpoint and bucket are settings of the location, and no secrets" ];
}
