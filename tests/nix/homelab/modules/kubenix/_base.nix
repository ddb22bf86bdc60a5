# What all modules of this home share.
{
  _module.args.homelab = {
    namespaces.backup = "backup";
    nodes = 3;
  };
}
