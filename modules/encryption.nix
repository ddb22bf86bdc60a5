# For whom backups are encrypted. No private key has a place here.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  t = import ../nix/lib/types.nix { inherit lib; };
in
{
  options.trysail.encryption.recipients = mkOption {
    type = types.listOf t.recipient;
    default = [ ];
    example = [ "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p" ];
    description = "For whom new repositories are encrypted. Two or more, of which one lies outside your home; none of them with a key that Flux or SOPS uses. Without their keys nobody can restore, and nothing can help.";
  };
}
