# Rights, verb by verb: what is on `*`, and what is on named kinds.
{ objects, settings, ... }:
let
  inherit (builtins) concatMap concatStringsSep elem filter head map;
  inherit (settings) minimal with_;
  of = kind: name: modules: head (filter (object: object.kind == kind && object.metadata.name == name) (objects modules));
  text = rule: "${concatStringsSep "," rule.verbs} on ${concatStringsSep "," rule.resources}"
    + (if rule ? resourceNames then " named ${concatStringsSep "," rule.resourceNames}" else "");
  rules = kind: name: modules: map text (of kind name modules).rules;
in
{
  "the server reads, creates and patches everything, deletes pods that held a claim, and no more" = {
    found = rules "ClusterRole" "velero" [ minimal ];
    expected = [ "create,get,list,patch on *" "delete on pods" ];
  };
  "the server deletes and watches in its own namespace alone, and what is its own" = {
    found = rules "Role" "velero" [ minimal ];
    expected = [
      "create,delete,get,list,patch,watch on *"
      "create,get,list,update on leases"
      "create,get,update on secrets"
      "list on configmaps"
      "get on pods"
      "create,delete,get on jobs"
      "create,patch on events"
    ];
  };
  "more rights come with their options alone" = {
    found = rules "ClusterRole" "velero" (with_ { server = { escalate = true; impersonate = true; }; });
    expected = [ "create,get,list,patch on *" "delete on pods" "bind,escalate on clusterroles,roles" "impersonate on serviceaccounts" ];
  };
  "no rule has `*` as a verb" = {
    found = concatMap (object: filter (rule: elem "*" rule.verbs) (object.rules or [ ])) (objects [ minimal ]);
    expected = [ ];
  };
  "the node agent gets single pods, claims and volumes, and works in its own namespace alone" = {
    found = rules "ClusterRole" "velero-node-agent" [ minimal ] ++ map (object: "${object.kind} ${object.metadata.namespace or "everywhere"}")
      (filter (object: elem object.kind [ "RoleBinding" "ClusterRoleBinding" ] && (head object.subjects).name == "node-agent") (objects [ minimal ]));
    expected = [ "get on persistentvolumeclaims,persistentvolumes,pods" "ClusterRoleBinding everywhere" "RoleBinding velero" ];
  };
  "the node agent writes the progress of its work and its Lease, and nothing else" = {
    found = rules "Role" "node-agent" [ minimal ];
    expected = [
      "get,list,patch,watch on podvolumebackups"
      "get on backupstoragelocations"
      "create,patch on leases"
      "get on secrets named velero-s3-secret"
    ];
  };
  "the node agent reads no Secret but credentials" = {
    found = filter (line: builtins.match ".*secrets.*" line != null)
      (rules "Role" "node-agent" (with_ { locations.offsite = { bucket = "offsite"; credential.name = "offsite-s3"; }; }));
    expected = [ "get on secrets named offsite-s3,velero-s3-secret" ];
  };
  "each binding names an account that is rendered" = {
    found =
      let
        accounts = map (o: o.metadata.name) (filter (o: o.kind == "ServiceAccount") (objects [ minimal ]));
        subjects = concatMap (o: map (s: s.name) (o.subjects or [ ])) (objects [ minimal ]);
      in
      filter (name: !(elem name accounts)) subjects;
    expected = [ ];
  };
}
