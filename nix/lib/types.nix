# Types of our options, each with words that an error can print. Their patterns are in ../core/patterns.nix.
{ lib }:
let
  patterns = import ../core/patterns.nix;
  inherit (lib) types;
  inherit (builtins) all concatStringsSep filter head isString length map match toString;

  text = description: pattern: types.strMatching pattern // {
    inherit description;
    descriptionClass = "noun";
  };

  isReference = value: isString value && match patterns.reference value != null;
in
{
  label = text "name of lower case letters, digits and `-`" patterns.label;
  subdomain = text "name of lower case letters, digits, `-` and `.`" patterns.subdomain;
  cron = text "cron line of five fields, or @daily and the like" patterns.cron;
  timeZone = text "time zone, as America/Sao_Paulo" patterns.timeZone;
  duration = text "duration with units, as 336h" patterns.duration;
  quantity = text "quantity of Kubernetes, as 500m or 256Mi" patterns.quantity;
  bucket = text "name of a bucket" patterns.bucket;
  url = text "URL that begins with http:// or https://" patterns.url;
  image = text "image without tag and digest" patterns.image;
  tag = text "tag of an image" patterns.tag;
  digest = text "digest, as sha256: and 64 hexadecimal digits" patterns.digest;
  recipient = text "age recipient, as age1…" patterns.recipient;
  absolutePath = text "absolute path" patterns.absolutePath;

  file = types.path // { description = "path of a file"; descriptionClass = "noun"; };

  resources = types.attrsOf (types.attrsOf (text "quantity of Kubernetes, as 500m or 256Mi" patterns.quantity));

  # A secret's place. Errors name the files that are wrong and never what stands in them: it may be the secret.
  reference = lib.mkOptionType {
    name = "reference";
    description = "reference to a secret, as ref+sops://FILE#KEY";
    descriptionClass = "noun";
    check = _: true;
    merge = loc: definitions:
      let
        files = wrong: concatStringsSep ", " (map (definition: toString definition.file) wrong);
        wrong = filter (definition: !(isReference definition.value)) definitions;
        first = (head definitions).value;
        option = concatStringsSep "." loc;
      in
      if wrong != [ ] then
        throw ''
          ${option} is no reference; what it is is not shown here, since it may be a secret.
          Put the secret into a file with `sops edit secrets/k8s-secrets.enc.yaml`, and write where it is: "ref+sops://secrets/k8s-secrets.enc.yaml#KEY".
          In: ${files wrong}''
      else if all (definition: definition.value == first) definitions then first
      else throw "${option} has ${toString (length definitions)} different definitions, in: ${files definitions}";
  };
}
