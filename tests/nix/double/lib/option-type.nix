# A type of options from what is special about it.
{ define }:
let
  same = loc: definitions:
    let first = (builtins.head definitions).value; in
    if builtins.all (definition: definition.value == first) definitions then first
    else throw "The option `${define.path loc}' has conflicting definition values:${define.shown definitions}";
in
attributes: {
  _type = "option-type";
  description = attributes.name;
  descriptionClass = null;
  check = _: true;
  merge = same;
  getSubOptions = _: { };
  emptyValue = { };
} // attributes
