//! `trysail crds` and `trysail install --crds-only --dry-run` print what the API server takes.

use serde_json::Value;

use crate::machine::Machine;

/// Name and version of a definition.
fn kinds<'a>(crds: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let name = |crd: &Value| {
        assert_eq!(crd["kind"], "CustomResourceDefinition");
        let version = crd["spec"]["versions"][0]["name"].as_str().expect("a version").to_owned();
        format!("{} {version}", crd["metadata"]["name"].as_str().expect("a name"))
    };
    crds.into_iter().map(name).collect()
}

const VELERO: [&str; 13] = [
    "backuprepositories.velero.io v1",
    "backups.velero.io v1",
    "backupstoragelocations.velero.io v1",
    "deletebackuprequests.velero.io v1",
    "downloadrequests.velero.io v1",
    "podvolumebackups.velero.io v1",
    "podvolumerestores.velero.io v1",
    "restores.velero.io v1",
    "schedules.velero.io v1",
    "serverstatusrequests.velero.io v1",
    "volumesnapshotlocations.velero.io v1",
    "datadownloads.velero.io v2alpha1",
    "datauploads.velero.io v2alpha1",
];

#[test]
fn definitions_are_yaml_documents_that_say_what_the_json_list_says() {
    let machine = Machine::new();
    let printed = machine.succeed(&["crds"]);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&printed).expect("YAML documents");
    let list = machine.json(&["crds"]);
    assert_eq!(list["items"], Value::Array(documents.clone()));
    let expected: Vec<&str> = VELERO.into_iter().chain(["volumerestores.trysail.io v1alpha1"]).collect();
    assert_eq!(kinds(&documents), expected);
}

#[test]
fn the_chart_hook_gets_the_kinds_of_velero_in_one_list() {
    let machine = Machine::new();
    let printed = machine.succeed(&["install", "--crds-only", "--dry-run", "-o", "yaml"]);
    let list: Value = serde_saphyr::from_str(&printed).expect("YAML");
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"v1".into(), &"List".into()));
    assert_eq!(kinds(list["items"].as_array().expect("a list")), VELERO);
    assert_eq!(machine.json(&["install", "--crds-only", "--dry-run"]), list);
}

#[test]
fn only_definitions_can_be_installed_and_a_missing_cluster_is_named() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["install"]).code, Some(2));
    let said = machine.refused(&["install", "--crds-only", "--apply", "--kubeconfig", "/nonexistent/config"]);
    assert!(said.contains("the API server") && said.contains("/nonexistent/config"), "{said}");
}

#[test]
fn results_can_be_read_as_yaml_too() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    let yaml = machine.succeed(&["repo", "stats", "-o", "yaml"]);
    let read: Value = serde_saphyr::from_str(&yaml).expect("YAML");
    assert_eq!(read, machine.json(&["repo", "stats"]));
}
