# What texts in options look like: POSIX extended expressions, which `builtins.match` compares with the whole text.
# No option and no message is here.
let
  inherit (builtins) concatStringsSep;

  # One field of a cron line: lists of `*`, a value or a range, each with an optional step.
  field = value:
    let item = "([*?]|(${value})(-(${value}))?)(/[1-9][0-9]*)?";
    in "${item}(,${item})*";

  month = "1[0-2]|0?[1-9]|[Jj][Aa][Nn]|[Ff][Ee][Bb]|[Mm][Aa][Rr]|[Aa][Pp][Rr]|[Mm][Aa][Yy]|[Jj][Uu][Nn]|[Jj][Uu][Ll]|[Aa][Uu][Gg]|[Ss][Ee][Pp]|[Oo][Cc][Tt]|[Nn][Oo][Vv]|[Dd][Ee][Cc]";
  weekday = "[0-6]|[Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]";
  minute = "[0-5]?[0-9]";
  hour = "2[0-3]|[01]?[0-9]";
  label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
in
rec {
  inherit label;

  # A number with a unit for each part. Source: Go, time.ParseDuration, without signs.
  duration = "([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+";

  # Source: Velero reads schedules as robfig/cron `ParseStandard` does. A time zone has an option of its own.
  cron = "(${concatStringsSep " +" (map field [ minute hour "3[01]|[12][0-9]|0?[1-9]" month weekday ])})|@(hourly|daily|midnight|weekly|monthly|yearly|annually)|@every ${duration}";

  # A schedule with one time a day, as two groups: minute and hour.
  onceADay = "(${minute}) +(${hour}) +[*] +[*] +[*]";

  # A name of the tz database, as `America/Sao_Paulo`.
  timeZone = "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*";

  # Kubernetes, DNS subdomain of RFC 1123.
  subdomain = "${label}([.]${label})*";

  # Kubernetes, resource.Quantity, without signs and exponents.
  quantity = "[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?";

  # Amazon S3, bucket naming rules.
  bucket = "[a-z0-9][a-z0-9.-]+[a-z0-9]";

  url = "https?://[A-Za-z0-9._-]+(:[0-9]+)?(/[^ ]*)?";

  # As `url`, in two groups: scheme, and the port with its colon.
  urlParts = "(https?)://[A-Za-z0-9._-]+(:[0-9]+)?(/[^ ]*)?";

  # An image without tag and digest. A stray line break in one has stopped a Velero before.
  image = "([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9._-]+(/[a-z0-9._-]+)*";
  tag = "[A-Za-z0-9_][A-Za-z0-9._-]*";
  digest = "sha256:[0-9a-f]{64}";

  # A place that `vals` and `trysail secrets seal` read, never the secret itself.
  reference = "ref[+][a-z0-9]+://[^ \n\"',]+";

  recipient = "age1[0-9a-z]+";
  absolutePath = "(/[^ /]+)+";
  pullPolicy = "Always|IfNotPresent|Never";
}
