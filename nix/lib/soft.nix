# Objects whose every field a user may set again without `mkForce`: they win over kubenix's defaults and lose to plain
# definitions.
{ lib }:
let
  inherit (builtins) all isAttrs isList map mapAttrs;
  weak = lib.mkOverride 900;
  soften = value:
    if isAttrs value && value != { } then mapAttrs (_: soften) value
    else if isList value && value != [ ] && all isAttrs value then map soften value
    else weak value;

  clusterWide = [ "ClusterRole" "ClusterRoleBinding" "Namespace" "PriorityClass" "StorageClass" ];
in
# kubenix stamps its namespace on cluster-wide kinds too; null takes it away again.
object: soften (object // {
  metadata = object.metadata // (if builtins.elem object.kind clusterWide then { namespace = null; } else { });
})
