//! Promises of the API server that tests without nodes use, and of the stock command lines on it (feature `api`; needs Go).
#![cfg(feature = "api")]

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde_json::json;
use trysail_tests::{api_server::ApiServer, tools::Tool, velero::velero, wait};

/// Time until a controller has done its work, on a busy computer.
const LIMIT: Duration = Duration::from_mins(5);

/// The oldest and the newest stock command line.
const PEERS: [(Tool, &str); 2] = [(Tool::Velero113, "v1.13.0"), (Tool::Velero118, "v1.18.3")];

#[test]
fn a_namespace_ends_with_all_that_is_in_it() -> Result<()> {
    let mut server = ApiServer::start()?;
    let kubectl = server.kubectl().clone();
    kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }))?;
    let metadata = json!({ "name": "prices", "namespace": "shop" });
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "apple": "2" } });
    kubectl.apply_object(&object)?;
    assert_eq!(kubectl.get(&["configmap", "prices", "-n", "shop"])?["data"], json!({ "apple": "2" }));
    kubectl.run(&["delete", "namespace", "shop", "--wait=false"])?;
    wait::until_true("the namespace ends", LIMIT, || {
        server.check()?;
        Ok(kubectl.run(&["get", "namespace", "shop", "--ignore-not-found", "-o", "name"])?.is_empty())
    })?;
    kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }))?;
    let left = kubectl.run(&["get", "configmap", "prices", "-n", "shop", "--ignore-not-found", "-o", "name"])?;
    assert_eq!(left, "");
    Ok(())
}

#[test]
fn two_servers_at_once_hold_different_objects() -> Result<()> {
    let (one, other) = (ApiServer::start()?, ApiServer::start()?);
    let name = json!({ "name": "only-here" });
    one.kubectl().apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": name }))?;
    let names = |server: &ApiServer| {
        server.kubectl().run(&["get", "namespace", "only-here", "--ignore-not-found", "-o", "name"])
    };
    assert_eq!([names(&one)?, names(&other)?], ["namespace/only-here\n".to_owned(), String::new()]);
    Ok(())
}

#[test]
fn the_stock_command_lines_say_their_versions() -> Result<()> {
    for (tool, version) in PEERS {
        let said = velero(tool, Path::new("/nonexistent"), &["version", "--client-only"])?;
        assert_eq!(said, format!("Client:\n\tVersion: {version}\n\tGit commit: -\n"), "{}", tool.name());
    }
    Ok(())
}

#[test]
fn the_stock_command_lines_make_and_list_their_objects_on_the_server() -> Result<()> {
    for (tool, _) in PEERS {
        let server = ApiServer::start()?;
        let run = |arguments: &[&str]| velero(tool, server.kubeconfig(), arguments);
        run(&["install", "--crds-only"])?;
        let kubectl = server.kubectl();
        kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "velero" } }))?;
        wait::until_true("the server knows schedules", LIMIT, || {
            Ok(kubectl.output(&["get", "schedules.velero.io", "-n", "velero"], "")?.status.success())
        })?;
        let said = run(&["schedule", "create", "nightly", "--schedule", "0 3 * * *"])?;
        assert_eq!(said, "Schedule \"nightly\" created successfully.\n", "{}", tool.name());
        let listed = run(&["schedule", "get", "-o", "json"])?;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        assert_eq!(
            (&listed["metadata"]["name"], &listed["spec"]["schedule"]),
            (&json!("nightly"), &json!("0 3 * * *")),
            "{}",
            tool.name()
        );
    }
    Ok(())
}
