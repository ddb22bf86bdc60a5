//! What is wrong with the spec of a Backup.

use super::lists;
use crate::{
    backup::BackupSpec,
    reference::LocalReference,
    selection::{uses_scoped, uses_unscoped},
    selector::LabelSelector,
};

/// All problems of a Backup's spec. Empty where there are none.
///
/// Source: Velero `pkg/controller/backup_controller.go`, `prepareBackupRequest`. What Velero finds out later, while it
/// collects objects, is found out here: label selectors that Kubernetes refuses, and a policy of another kind.
pub fn backup(spec: &BackupSpec) -> Vec<String> {
    let mut problems = Vec::new();
    if uses_unscoped(spec) && uses_scoped(spec) {
        problems.push(
            "include-resources, exclude-resources and include-cluster-resources are old filter parameters.\n\
             include-cluster-scoped-resources, exclude-cluster-scoped-resources, include-namespace-scoped-resources and \
             exclude-namespace-scoped-resources are new filter parameters.\n\
             They cannot be used together"
                .to_owned(),
        );
    }
    if uses_unscoped(spec) {
        let found = lists::unscoped(spec.included_resources.as_ref(), spec.excluded_resources.as_ref());
        problems.extend(found.iter().map(|p| format!("Invalid included/excluded resource lists: {p}")));
    } else {
        let found = lists::scoped(
            spec.included_cluster_scoped_resources.as_ref(),
            spec.excluded_cluster_scoped_resources.as_ref(),
        );
        problems.extend(found.iter().map(|p| format!("Invalid cluster-scoped included/excluded resource lists: {p}")));
        let found = lists::scoped(
            spec.included_namespace_scoped_resources.as_ref(),
            spec.excluded_namespace_scoped_resources.as_ref(),
        );
        problems
            .extend(found.iter().map(|p| format!("Invalid namespace-scoped included/excluded resource lists: {p}")));
    }
    let found = lists::namespaces(spec.included_namespaces.as_ref(), spec.excluded_namespaces.as_ref());
    problems.extend(found.iter().map(|p| format!("Invalid included/excluded namespace lists: {p}")));
    problems.extend(selectors("backup", spec.label_selector.as_ref(), spec.or_label_selectors.as_deref()));
    problems.extend(spec.resource_policy.as_ref().and_then(|policy| config_map("resourcePolicy", policy)));
    problems
}

/// Problems of a spec's selectors. `of` is the kind of the object, in lower case.
pub(super) fn selectors(of: &str, one: Option<&LabelSelector>, any: Option<&[LabelSelector]>) -> Vec<String> {
    let mut problems = Vec::new();
    if one.is_some() && any.is_some() {
        problems.push(format!(
            "encountered labelSelector as well as orLabelSelectors in {of} spec, only one can be specified"
        ));
    }
    problems.extend(one.into_iter().flat_map(LabelSelector::problems).map(|p| format!("labelSelector: {p}")));
    let any = any.unwrap_or_default().iter().enumerate();
    problems.extend(any.flat_map(|(at, selector)| {
        selector.problems().into_iter().map(move |p| format!("orLabelSelectors[{at}]: {p}"))
    }));
    problems
}

/// What is wrong with a reference that must be to a `ConfigMap`.
pub(super) fn config_map(field: &str, reference: &LocalReference) -> Option<String> {
    let is_right = reference.kind.eq_ignore_ascii_case("configmap");
    (!is_right).then(|| format!("{field}: kind {:?} is not supported, only \"configmap\" is", reference.kind))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backup_of_everything_is_right() {
        assert_eq!(backup(&BackupSpec::default()), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let spec = json!({
            "includedResources": ["*", "pods"],
            "excludedNamespaceScopedResources": ["secrets"],
            "includedNamespaces": ["App"],
            "excludedNamespaces": ["*"],
            "labelSelector": { "matchExpressions": [{ "key": "app", "operator": "Is" }] },
            "orLabelSelectors": [{}, { "matchExpressions": [{ "key": "tier", "operator": "In" }] }],
            "resourcePolicy": { "kind": "Secret", "name": "policy" },
        });
        let problems = backup(&serde_json::from_value(spec).unwrap());
        expect![[r#"
            include-resources, exclude-resources and include-cluster-resources are old filter parameters.
            include-cluster-scoped-resources, exclude-cluster-scoped-resources, include-namespace-scoped-resources and exclude-namespace-scoped-resources are new filter parameters.
            They cannot be used together
            Invalid included/excluded resource lists: includes list must either contain '*' only, or a non-empty list of items
            Invalid included/excluded namespace lists: excludes list cannot contain '*'
            Invalid included/excluded namespace lists: invalid namespace "App": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            encountered labelSelector as well as orLabelSelectors in backup spec, only one can be specified
            labelSelector: label "app": "Is" is not a valid label selector operator
            orLabelSelectors[1]: label "tier": for 'in', 'notin' operators, values set can't be empty
            resourcePolicy: kind "Secret" is not supported, only "configmap" is
        "#]]
        .assert_eq(&(problems.join("\n") + "\n"));
    }
}
