# Drops fields that say nothing: null, and empty lists and sets. Kubernetes treats them as absent, and people read less.
fields: removeAttrs fields
  (builtins.filter (name: let value = fields.${name}; in value == null || value == [ ] || value == { }) (builtins.attrNames fields))
