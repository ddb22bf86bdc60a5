//! Names of volumes, recipients and pins of locations.

use serde_json::json;

use super::*;

fn location(annotations: &serde_json::Value) -> BackupStorageLocation {
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": { "name": "default", "annotations": annotations },
        "spec": { "provider": "aws", "objectStorage": { "bucket": "velero" } },
    }))
    .unwrap()
}

fn transfer(kind: &str, name: &str, claim: Option<&str>) -> PodVolumeBackup {
    let annotations = claim.map(|claim| json!({ "velero.io/pvc-name": claim }));
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": { "annotations": annotations },
        "spec": {
            "backupStorageLocation": "default", "node": "n1", "repoIdentifier": "", "volume": "data",
            "pod": { "kind": kind, "namespace": "app1", "name": name },
        },
    }))
    .unwrap()
}

#[test]
fn a_volume_is_named_by_its_claim_or_by_its_pod() {
    let names = [
        transfer("Pod", "web-0", Some("db")),
        transfer("Pod", "web-0", None),
        transfer("PersistentVolumeClaim", "archive", None),
    ];
    let names = names.map(|transfer| volume_of(&transfer).unwrap().plain().to_owned());
    assert_eq!(names, ["db", "web-0/data", "archive"]);
}

#[test]
fn a_name_that_no_store_could_keep_is_shortened() {
    let pod = "p".repeat(253);
    let name = volume_name(None, &pod, "data").unwrap();
    assert_eq!(name.plain(), format!("{}/data", trysail_api::names::label_value(&pod)));
    assert_eq!(volume_name(Some(&"c".repeat(253)), &pod, "data").unwrap().plain(), "c".repeat(253));
}

#[test]
fn recipients_stand_in_an_annotation_with_commas_or_spaces_between() {
    let (a, b) = (
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@host",
    );
    let found = |text: &str| {
        let found = recipients(&location(&json!({ own::RECIPIENTS: text })));
        found.map(|list| list.iter().map(|one| one.text().to_owned()).collect::<Vec<_>>()).map_err(|e| e.to_string())
    };
    assert_eq!(found(&format!("{a},{b}")), Ok(vec![a.to_owned(), b.to_owned()]));
    assert_eq!(found(&format!("{a} {a}\n{b}\n")), Ok(vec![a.to_owned(), a.to_owned(), b.to_owned()]));
    assert_eq!(found(" "), Ok(vec![]));
    assert_eq!(
        found("age1oops"),
        Err("location default: annotation trysail.io/recipients: `age1oops` is not an age recipient (age1… or an ssh-ed25519 or \
             ssh-rsa public key)"
            .to_owned())
    );
}

#[test]
fn a_pin_that_is_no_key_is_refused() {
    let error = pinned(&location(&json!({ own::ROOT_KEY: "x" }))).unwrap_err().to_string();
    assert_eq!(error, "location default: annotation trysail.io/root-key is not a root key: \"x\"");
}

#[test]
fn another_root_key_than_the_pinned_one_makes_a_repository_foreign() {
    let key = |byte| PublicKey([byte; 32]);
    let changed =
        RepositoryError::RootChanged { key: trysail_repository::layout::repo_json(0), pinned: key(1), found: key(2) };
    let error = failed("app1-default-kopia", changed).to_string();
    assert!(error.starts_with("RepositoryForeign: app1-default-kopia "), "{error}");
}
