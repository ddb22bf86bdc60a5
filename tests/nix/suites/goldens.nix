# Every case renders what is kept of it.
{ goldens, ... }:
let
  inherit (builtins) attrNames concatMap lessThan listToAttrs map readDir sort;
  inherit (goldens) rendered expected;
  compare = name: {
    name = "${name} is what it was";
    value = {
      found = if rendered.${name} == expected.${name} then "the same" else "another: make generate writes it, and git shows the difference";
      expected = "the same";
    };
  };
  below = directory: concatMap
    (name:
      let path = "${directory}${name}"; in
      if (readDir (../golden + "/${directory}")).${name} == "directory" then below "${path}/" else [ path ])
    (attrNames (readDir (../golden + "/${directory}")));
in
listToAttrs (map compare (attrNames rendered)) // {
  "no file is kept of what is not rendered" = { found = sort lessThan (below ""); expected = sort lessThan (attrNames rendered); };
}
