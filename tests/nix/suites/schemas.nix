# Every rendered object of our kinds fits the definition that the API server is given: known fields, right types, all that
# is required.
{ goldens, objects, settings, ... }:
let
  inherit (builtins) attrNames concatLists concatMap elem elemAt filter genList isAttrs isBool isInt isList isString length listToAttrs map match toString typeOf;
  inherit (import ../../../nix/core) definitions;

  schemas = listToAttrs (concatMap
    (crd: map (version: { name = "${crd.spec.group}/${version.name} ${crd.spec.names.kind}"; value = version.schema.openAPIV3Schema; }) crd.spec.versions)
    definitions.crds);

  fits = { string = isString; boolean = isBool; integer = isInt; array = isList; object = isAttrs; };
  problems = path: schema: value:
    if value == null then (if schema.nullable or false then [ ] else [ "${path} is null" ])
    else if !(fits.${schema.type or "object"} value) then [ "${path} is a ${typeOf value}, and not of type ${schema.type}" ]
    else if schema ? enum && !(elem value schema.enum) then [ "${path} is none of its words" ]
    else if isList value then concatLists (genList (i: problems "${path}[${toString i}]" schema.items (elemAt value i)) (length value))
    else if isAttrs value && schema ? properties then
      concatMap (name: if elem name (attrNames value) then [ ] else [ "${path}.${name} is missing" ]) (schema.required or [ ])
      ++ concatMap
        (name:
          if schema.properties ? ${name} then problems "${path}.${name}" schema.properties.${name} value.${name}
          else if schema.x-kubernetes-preserve-unknown-fields or false then [ ]
          else [ "${path}.${name} is not known" ])
        (attrNames value)
    else if isAttrs value && isAttrs (schema.additionalProperties or null) then concatMap (name: problems "${path}.${name}" schema.additionalProperties value.${name}) (attrNames value)
    else [ ];
  # Metadata is Kubernetes' own.
  ofObject = object:
    problems object.kind schemas."${object.apiVersion} ${object.kind}" (removeAttrs object [ "metadata" ]);

  isOurs = object: match "(velero|trysail)[.]io/.*" object.apiVersion != null;
  rendered = filter isOurs (concatLists (map (name: goldens.objects.${name}) (attrNames goldens.objects)));
  schedule = spec: { apiVersion = "velero.io/v1"; kind = "Schedule"; metadata.name = "x"; inherit spec; };
in
{
  "objects of all cases fit" = { found = concatMap ofObject rendered; expected = [ ]; };
  "there are such objects" = { found = length rendered > 10; expected = true; };
  "a field that is not known, has the wrong type, or is missing is found" = {
    found = concatMap ofObject [
      (schedule { schedule = "@daily"; template.shedule = "x"; })
      (schedule { schedule = 3; template = { }; })
      (schedule { template = { }; })
      (schedule { schedule = "@daily"; template.includedNamespaces = [ 7 ]; })
    ];
    expected = [
      "Schedule.spec.template.shedule is not known"
      "Schedule.spec.schedule is a int, and not of type string"
      "Schedule.spec.schedule is missing"
      "Schedule.spec.template.includedNamespaces[0] is a int, and not of type string"
    ];
  };
  "definitions are rendered as they are, with guards" = {
    found = map (crd: crd // { metadata = removeAttrs crd.metadata [ "annotations" ]; }) (filter (object: object.kind == "CustomResourceDefinition") (objects [ settings.minimal ]));
    expected = definitions.crds;
  };
  "all kinds are there: thirteen of Velero and ours" = {
    found = map (crd: crd.metadata.name) definitions.crds;
    expected = map (name: "${name}.velero.io") [ "backuprepositories" "backups" "backupstoragelocations" "datadownloads" "datauploads" "deletebackuprequests" "downloadrequests" "podvolumebackups" "podvolumerestores" "restores" "schedules" "serverstatusrequests" ]
      ++ [ "volumerestores.trysail.io" "volumesnapshotlocations.velero.io" ];
  };
}
