# The page of options is the one that the modules give.
{ trysail, ... }:
{
  "modules/README.md is up to date" = {
    found = if trysail.optionsPage == builtins.readFile ../../../modules/README.md then "yes" else "no: run make generate";
    expected = "yes";
  };
}
