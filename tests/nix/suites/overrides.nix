# In kubenix a user sets any field again without force.
{ kubenixObjects, settings, ... }:
let
  inherit (builtins) filter head;
  of = kind: extra: head (filter (object: object.kind == kind) (kubenixObjects [ settings.minimal extra ]));
  resources = group: value: { kubernetes.api.resources = { ${group} = value; }; };
in
{
  "a field of a core kind" = {
    found = (of "Deployment" (resources "apps" { v1.Deployment.velero.spec.replicas = 2; })).spec.replicas;
    expected = 2;
  };
  "a field of our kinds" = {
    found = (of "Schedule" (resources "velero.io" { v1.Schedule.daily.spec.template.ttl = "24h"; })).spec.template.ttl;
    expected = "24h";
  };
  "a kind that the configuration registers itself is left to it" = {
    found = (of "Schedule" { trysail.typedResources = false; }).spec.schedule;
    expected = "0 3 * * *";
  };
  "the namespace of the project is not stamped on what is cluster-wide" = {
    found = map (kind: (of kind { kubernetes.namespace = "elsewhere"; }).metadata.namespace or null) [ "ClusterRole" "ClusterRoleBinding" "Namespace" "Deployment" ];
    expected = [ null null null "velero" ];
  };
}
