# Types of the module system from the schemas of our definitions, so that kubenix checks our kinds as the API server does.
# Rules in CEL are not translated; defaults stay the API server's.
{ lib }:
let
  inherit (lib) mkOption types;
  inherit (builtins) concatMap elem filter map mapAttrs;

  typeOf = schema:
    if schema.x-kubernetes-preserve-unknown-fields or false then types.unspecified
    else if schema.x-kubernetes-int-or-string or false then types.either types.int types.str
    else if schema ? enum then types.enum schema.enum
    else
      {
        string = types.str;
        boolean = types.bool;
        integer = if schema ? minimum && schema.minimum == 0 then types.ints.unsigned else types.int;
        inherit (types) number;
        array = types.listOf (typeOf (schema.items or { }));
        object =
          if schema ? properties then types.submodule (moduleOf schema)
          else if schema ? additionalProperties && builtins.isAttrs schema.additionalProperties
          then types.attrsOf (typeOf schema.additionalProperties)
          else types.attrs;
      }.${schema.type or "object"};

  moduleOf = schema: {
    options = mapAttrs
      (name: property:
        let
          required = elem name (schema.required or [ ]);
          described = { description = property.description or ""; };
        in
        mkOption (described // (
          if required then { type = typeOf property; } else { type = types.nullOr (typeOf property); default = null; }
        )))
      schema.properties;
  };

  # A kind that ends in `y` has another plural.
  plural = kind:
    let n = builtins.stringLength kind; in
    if builtins.substring (n - 1) 1 kind == "y" then "${builtins.substring 0 (n - 1) kind}ies" else "${kind}s";

  customTypes = crd: map
    (version: {
      inherit (crd.spec) group;
      inherit (crd.spec.names) kind;
      version = version.name;
      attrName = "trysail${plural crd.spec.names.kind}";
      name = crd.spec.names.singular;
      description = version.schema.openAPIV3Schema.description or crd.spec.names.kind;
      module = moduleOf version.schema.openAPIV3Schema.properties.spec;
    })
    (filter (version: version.served) crd.spec.versions);
in
# From a list of definitions, what `kubernetes.customTypes` takes.
concatMap customTypes
