//! Promises of `trysail server` to the stock command lines, on a real API server and a real MinIO (feature `api`; needs Go).
#![cfg(feature = "api")]

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use trysail_tests::{
    installation::{BUCKET, Installation},
    tools::Tool,
    velero::velero,
};

/// Where recordings of stock Velero are. Elsewhere than in CI they may be absent.
fn golden() -> Option<PathBuf> {
    let path = std::env::var_os("TRYSAIL_GOLDEN").map(PathBuf::from);
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "TRYSAIL_GOLDEN names no recordings");
        // A test that is passed over says so, and cannot say more if nobody listens.
        let _ = writeln!(std::io::stderr(), "SKIPPED, needs TRYSAIL_GOLDEN: recordings of stock Velero");
    }
    path
}

/// A row of a table as its words, without the moment in it.
fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_location_is_available_and_the_server_tells_its_version() -> Result<()> {
    let mut installation = Installation::start()?;
    let message = installation.until_location("default", "Available")?;
    assert_eq!(
        message,
        "PlaintextTransport: config.s3Url is http: whoever listens on the way reads what is not encrypted"
    );
    let table = installation.velero(&["backup-location", "get"])?;
    let rows = words(&table);
    assert_eq!(rows[1][..4], ["default", "aws", "velero", "Available"], "{table}");
    assert_eq!(rows[1][8..], ["ReadWrite", "true"], "{table}");
    for tool in [Tool::Velero113, Tool::Velero118] {
        let said = velero(tool, installation.api.kubeconfig(), &["version"])?;
        assert!(said.contains("Server:\n\tVersion: v1.18.3+trysail."), "{said}");
    }
    Ok(())
}

#[test]
fn a_rule_that_expires_objects_makes_a_location_unavailable_and_says_how_to_remove_it() -> Result<()> {
    let mut installation = Installation::start()?;
    installation.until_location("default", "Available")?;
    installation.minio.mc(&["ilm", "rule", "add", "--expire-days", "14", &format!("t/{BUCKET}")])?;
    let message = installation.until_location("default", "Unavailable")?;
    let rules: Value =
        serde_json::from_str(&installation.minio.mc(&["ilm", "rule", "ls", "--json", &format!("t/{BUCKET}")])?)?;
    let id = rules["config"]["Rules"][0]["ID"].as_str().context("the rule has a name")?;
    let expected = format!(
        "LifecycleUnsafe: rule {id} of bucket velero deletes objects after 14 days, which younger backups still need; \
         remove it: mc ilm rule rm --id {id} ALIAS/velero; PlaintextTransport: "
    );
    assert!(message.starts_with(&expected), "{message}");
    let location = installation.object("backupstoragelocation", "default")?.context("the location is there")?;
    assert_eq!(location["metadata"]["annotations"]["trysail.io/condition"], "LifecycleUnsafe,PlaintextTransport");
    // The command that the message names, with this MinIO's alias.
    installation.minio.mc(&["ilm", "rule", "rm", "--id", id, &format!("t/{BUCKET}")])?;
    installation.until_location("default", "Available")?;
    Ok(())
}

#[test]
fn wrong_buckets_secrets_and_directories_are_told_apart() -> Result<()> {
    let mut installation = Installation::start()?;
    let (mut no_bucket, mut no_secret) = (installation.location("a", "absent"), installation.location("b", BUCKET));
    no_bucket["spec"]["default"] = json!(false);
    no_secret["spec"]["credential"]["name"] = json!("absent");
    installation.apply(&no_bucket)?;
    installation.apply(&no_secret)?;
    let message = installation.until_location("a", "Unavailable")?;
    assert!(message.starts_with("NoBucket: no such bucket or directory: HTTP 404: NoSuchBucket"), "{message}");
    assert_eq!(installation.until_location("b", "Unavailable")?, "InvalidLocation: there is no Secret absent");
    installation.minio.mc(&["cp", "/etc/hostname", &format!("t/{BUCKET}/alt/x")])?;
    let message = installation.until_location("default", "Unavailable")?;
    assert!(
        message.starts_with("ForeignDirectories: Backup store contains invalid top-level directories: [alt]"),
        "{message}"
    );
    Ok(())
}

#[test]
fn a_schedule_makes_a_backup_when_it_is_due_and_none_while_it_is_paused() -> Result<()> {
    let mut installation = Installation::start()?;
    let create = ["schedule", "create", "often", "--schedule", "@every 3s", "--labels", "app=shop", "--ttl", "2h"];
    installation.velero(&create)?;
    installation.velero(&["schedule", "create", "bad", "--schedule", "not a cron"])?;
    installation.velero(&["schedule", "create", "resting", "--schedule", "@every 1s", "--paused"])?;
    let backup = installation.until("a backup is made", |installation| {
        let list = installation.api.kubectl().get(&["backups.velero.io", "-n", "velero"])?;
        Ok(list["items"].get(0).cloned())
    })?;
    let name = backup["metadata"]["name"].as_str().context("a name")?;
    let digits = name.strip_prefix("often-").context(name.to_owned())?;
    assert!(digits.len() == 14 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
    let labels = &backup["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels["velero.io/schedule-name"]), (&json!("shop"), &json!("often")));
    assert_eq!(backup["spec"]["ttl"], "2h0m0s");
    installation.until("the schedules are judged", |installation| {
        let table = installation.velero(&["schedule", "get"])?;
        let status = |name: &str| words(&table).iter().find(|row| row[0] == name).map(|row| row[1].to_owned());
        let is_so =
            status("often").as_deref() == Some("Enabled") && status("bad").as_deref() == Some("FailedValidation");
        Ok(is_so.then_some(()))
    })?;
    let bad = installation.object("schedule", "bad")?.context("the schedule is there")?;
    let problems = json!(["invalid schedule: expected exactly 5 fields, found 3: [not a cron]"]);
    assert_eq!(bad["status"]["validationErrors"], problems);
    // When the first one has ended, a second one is made; of the schedule that rests, whose time came more often, there is none.
    let names = installation.until("a second backup is made", |installation| {
        let list = installation.api.kubectl().get(&["backups.velero.io", "-n", "velero"])?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> =
            items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect();
        Ok((names.len() > 1).then_some(names))
    })?;
    assert!(names.iter().all(|name| name.starts_with("often-")), "{names:?}");
    installation.velero(&["schedule", "pause", "often"])?;
    let paused = installation.object("schedule", "often")?.context("the schedule is there")?;
    assert_eq!(paused["spec"]["paused"], true);
    Ok(())
}

#[test]
fn a_backup_that_stock_velero_stored_is_listed_and_its_log_can_be_read() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let mut installation = Installation::start()?;
    let copy = installation.api.scratch().join("b1");
    fs::create_dir(&copy)?;
    for entry in fs::read_dir(golden.join("bucket/b1"))? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    // The recorded one would expire.
    let record = copy.join("velero-backup.json");
    let mut backup: Value = serde_json::from_str(&fs::read_to_string(&record)?)?;
    backup["status"]["expiration"] = json!("2126-01-01T00:00:00Z");
    fs::write(&record, backup.to_string())?;
    let target = format!("t/{BUCKET}/backups/");
    installation.minio.mc(&["cp", "--recursive", copy.to_str().context("UTF-8")?, &target])?;
    let volumes = installation.until("the backup and its volumes are taken over", |installation| {
        let labels = "velero.io/backup-name=b1,velero.io/backup-uid";
        let list = installation.api.kubectl().get(&["podvolumebackups.velero.io", "-n", "velero", "-l", labels])?;
        let volumes = list["items"].as_array().cloned().unwrap_or_default();
        Ok((volumes.len() == 2).then_some(volumes))
    })?;
    let taken = installation.object("backup", "b1")?.context("the backup is there")?;
    for volume in &volumes {
        assert_eq!(volume["metadata"]["ownerReferences"][0]["uid"], taken["metadata"]["uid"]);
        assert_eq!(volume["status"]["phase"], "Completed");
    }
    let table = installation.velero(&["backup", "get"])?;
    assert_eq!(words(&table)[1][..4], ["b1", "Completed", "0", "0"], "{table}");
    let log = installation.velero(&["backup", "logs", "b1"])?;
    assert_eq!(log, fs::read_to_string(golden.join("bucket/b1-plain/b1-logs"))?);
    installation.minio.mc(&["rm", "--recursive", "--force", &format!("{target}b1")])?;
    installation.until("the object of a backup that is gone is deleted", |installation| {
        Ok(installation.object("backup", "b1")?.is_none().then_some(()))
    })
}

#[test]
fn a_backup_whose_time_is_over_is_deleted_unless_it_is_the_last_good_one() -> Result<()> {
    let mut installation = Installation::start()?;
    installation.until_location("default", "Available")?;
    let schedule = json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "name": "yearly", "namespace": "velero" },
        "spec": { "schedule": "@yearly", "template": {} },
    });
    installation.apply(&schedule)?;
    let old = |name: &str, labels: Value| {
        json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": name, "namespace": "velero", "labels": labels },
            "spec": { "storageLocation": "default" },
            "status": {
                "phase": "Completed", "startTimestamp": "2026-01-01T00:00:00Z", "expiration": "2026-01-02T00:00:00Z",
            },
        })
    };
    installation.apply(&old("single", json!({})))?;
    installation.apply(&old("last", json!({ "velero.io/schedule-name": "yearly" })))?;
    installation.until("one is deleted and the other kept", |installation| {
        let kept = installation.object("backup", "last")?.context("the last one stays")?;
        let says = kept["metadata"]["annotations"]["trysail.io/condition"] == "KeptBeyondExpiration";
        Ok((says && installation.object("backup", "single")?.is_none()).then_some(()))
    })?;
    Ok(())
}

#[test]
fn of_two_servers_one_acts_and_the_other_takes_over_when_it_dies() -> Result<()> {
    let mut installation = Installation::without_server()?;
    installation.start_server(&[])?;
    let holder = |installation: &Installation| -> Result<Option<String>> {
        let arguments = ["get", "lease", "trysail-server", "-n", "velero", "--ignore-not-found", "-o"];
        let name = installation.api.kubectl().run(&[&arguments[..], &["jsonpath={.spec.holderIdentity}"]].concat())?;
        Ok((!name.is_empty()).then_some(name))
    };
    let first = installation.until("the first server holds the Lease", holder)?;
    installation.start_server(&[])?;
    installation.kill_first_server();
    installation.until("the second server holds the Lease", |i| Ok(holder(i)?.filter(|name| *name != first)))?;
    installation.apply(&installation.location("default", BUCKET))?;
    installation.until_location("default", "Available")?;
    Ok(())
}

#[test]
fn metrics_have_the_names_and_types_that_stock_velero_tells() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let mut installation = Installation::without_server()?;
    installation.apply(&installation.location("default", BUCKET))?;
    let address = installation.start_server(&[])?;
    installation.until_location("default", "Available")?;
    let ask = |path: &str| -> Result<String> {
        let output = Command::new("curl").args(["-sSf", &format!("http://{address}{path}")]).output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let stock = fs::read_to_string(golden.join("metrics/00-start.server.prom"))?;
    let series = |text: &str| -> Vec<String> {
        let own = text.lines().filter(|line| line.starts_with("velero_"));
        let mut names: Vec<String> = own.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        names.sort();
        names
    };
    let missing = installation.until("all series of stock Velero are told", |_| {
        let ours = series(&ask("/metrics")?);
        let missing: Vec<String> = series(&stock).into_iter().filter(|name| !ours.contains(name)).collect();
        Ok(missing.is_empty().then_some(missing))
    })?;
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!((ask("/livez")?, ask("/readyz")?), ("ok\n".to_owned(), "ok\n".to_owned()));
    Ok(())
}
