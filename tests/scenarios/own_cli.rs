//! Promises of our own command line on a cluster: it prints what the stock one prints of the same objects, and takes what that
//! one refuses and users type (feature `api`; needs Go).
#![cfg(feature = "api")]

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_repository::seal::Identity;
use trysail_tests::{
    built,
    installation::{BUCKET, Installation},
    tools::Tool,
};

/// Our program under the name of the stock one, beside the cluster that it is for.
struct Ours {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Ours {
    fn of(installation: &Installation) -> Result<Self> {
        let program = installation.api.scratch().join("velero");
        symlink(built::trysail()?, &program)?;
        Ok(Self { program, kubeconfig: installation.api.kubeconfig().to_owned() })
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).env_remove("VELERO_NAMESPACE");
        command.stdin(Stdio::null()).output().with_context(|| format!("run {}", program.display()))
    }

    /// What it prints, called as `velero`.
    fn print(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(&self.program, arguments)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What it says when it refuses, called as `velero`.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(&self.program, arguments)?;
        ensure!(!output.status.success(), "{} is done", arguments.join(" "));
        Ok(String::from_utf8(output.stderr)?)
    }

    /// The exit code, called as `trysail`.
    fn code(&self, arguments: &[&str]) -> Result<Option<i32>> {
        Ok(self.command(built::trysail()?, arguments)?.status.code())
    }
}

/// A server with a default location that is available, and a namespace `app1` with some objects.
fn shop() -> Result<(Installation, Ours)> {
    let mut installation = Installation::start()?;
    installation.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "app1" } }))?;
    installation.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings", "namespace": "app1" },
        "data": { "apple": "2" },
    }))?;
    installation.until_location("default", "Available")?;
    let ours = Ours::of(&installation)?;
    Ok((installation, ours))
}

/// Text without colours.
fn plain(text: &str) -> String {
    let colours = ["\u{1b}[1m", "\u{1b}[22m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[0m"];
    colours.iter().fold(text.to_owned(), |text, colour| text.replace(colour, ""))
}

/// An object without fields that say nothing: Go writes them, we do not.
fn meaningful(value: &Value) -> Value {
    let says_nothing = |value: &Value| {
        value.is_null() || *value == json!({}) || *value == json!([]) || *value == json!("0s") || *value == json!("")
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), meaningful(value)));
            Value::Object(fields.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => items.iter().map(meaningful).collect(),
        other => other.clone(),
    }
}

#[test]
fn lists_descriptions_and_logs_are_those_of_the_stock_command_line() -> Result<()> {
    let (installation, ours) = shop()?;
    ours.print(&["backup", "create", "b1", "--include-namespaces", "app1", "--labels", "tier=gold,a=b", "--wait"])?;
    ours.print(&["backup", "create", "b2", "--include-namespaces", "nosuchns", "-l", "app in (x,y),!z", "--wait"])?;
    ours.print(&["restore", "create", "r1", "--from-backup", "b1", "--namespace-mappings", "app1:app2", "--wait"])?;
    ours.print(&["schedule", "create", "s1", "--schedule", "0 3 * * *", "--ttl", "24h", "--paused"])?;
    for command in [
        &["backup", "get"][..],
        &["backup", "get", "b1"],
        &["backup", "get", "-l", "tier=gold", "--show-labels"],
        &["backup", "get", "-L", "tier,a"],
        &["get", "backups"],
        &["backup", "describe", "b1"],
        &["backup", "describe", "b1", "--details"],
        &["backup", "describe", "b2"],
        &["backup", "describe", "b1", "b2"],
        &["describe", "backups", "b1"],
        &["backup", "describe", "b1", "--details", "-o", "json"],
        &["backup", "logs", "b1"],
        &["restore", "get"],
        &["restore", "describe", "r1"],
        &["restore", "describe", "r1", "--details"],
        &["restore", "logs", "r1"],
        &["schedule", "get"],
        &["schedule", "describe", "s1"],
        &["backup-location", "get"],
        &["repo", "get"],
    ] {
        assert_eq!(ours.print(command)?, plain(&installation.velero(command)?), "{}", command.join(" "));
    }
    for command in [
        &["backup", "get", "-o", "json"][..],
        &["backup", "get", "b1", "-o", "json"],
        &["restore", "get", "-o", "json"],
        &["schedule", "get", "-o", "json"],
        &["backup-location", "get", "-o", "json"],
    ] {
        let said = |text: &str| Ok::<_, anyhow::Error>(meaningful(&serde_json::from_str(text)?));
        assert_eq!(said(&ours.print(command)?)?, said(&installation.velero(command)?)?, "{}", command.join(" "));
    }
    let yaml = |text: &str| Ok::<Value, anyhow::Error>(meaningful(&serde_saphyr::from_str(text)?));
    let command = ["backup", "get", "b1", "-o", "yaml"];
    assert_eq!(yaml(&ours.print(&command)?)?, yaml(&installation.velero(&command)?)?);
    Ok(())
}

#[test]
fn the_same_flags_make_the_same_objects() -> Result<()> {
    let (installation, ours) = shop()?;
    ours.print(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    for command in [
        &["backup", "create", "dry", "--include-namespaces", "app1", "--ttl", "24h", "-l", "app=web"][..],
        &["backup", "create", "dry", "--or-selector", "app=web or app=db", "--labels", "a=b,c=d"],
        &[
            "backup",
            "create",
            "dry",
            "--include-namespaces",
            "app1,app2",
            "--exclude-namespaces",
            "app3",
            "--include-resources",
            "pods,pvc",
            "--exclude-resources",
            "secrets",
            "--ttl",
            "1h30m",
            "--snapshot-volumes=false",
            "--include-cluster-resources=true",
            "--ordered-resources",
            "pods=app1/a,app1/b;persistentvolumes=pv1",
            "--csi-snapshot-timeout",
            "5m",
            "--item-operation-timeout",
            "2h",
            "--storage-location",
            "default",
            "--default-volumes-to-fs-backup=false",
            "--snapshot-move-data",
            "--data-mover",
            "velero",
            "--parallel-files-upload",
            "4",
            "--annotations",
            "x=y",
        ],
        &[
            "backup",
            "create",
            "dry",
            "--include-cluster-scoped-resources",
            "*",
            "--include-namespace-scoped-resources",
            "pods",
            "--exclude-namespace-scoped-resources",
            "secrets",
        ],
        &["schedule", "create", "sdry", "--schedule", "0 1 * * *", "--skip-immediately=true"],
        &[
            "restore",
            "create",
            "dry",
            "--from-backup",
            "b1",
            "--namespace-mappings",
            "app1:x",
            "--existing-resource-policy=update",
            "--restore-volumes=false",
            "--include-resources",
            "pods",
            "--selector",
            "app=web",
            "--preserve-nodeports=true",
            "--status-include-resources",
            "pods",
            "--labels",
            "a=b",
        ],
        &[
            "backup-location",
            "create",
            "dry",
            "--provider",
            "aws",
            "--bucket",
            "b",
            "--prefix",
            "p",
            "--config",
            "region=minio,s3Url=http://127.0.0.1:9000",
            "--credential",
            "secret=key",
            "--backup-sync-period",
            "2m",
            "--access-mode",
            "ReadOnly",
        ],
    ] {
        let command = [command, &["-o", "json"]].concat();
        let said = |text: &str| Ok::<Value, anyhow::Error>(meaningful(&serde_json::from_str(text)?));
        assert_eq!(said(&ours.print(&command)?)?, said(&installation.velero(&command)?)?, "{}", command.join(" "));
    }
    Ok(())
}

#[test]
fn what_is_done_is_told_as_by_the_stock_command_line() -> Result<()> {
    let (mut installation, ours) = shop()?;
    let both = |ours_says: &[&str], theirs: &[&str], names: [&str; 2]| -> Result<()> {
        let told = installation.velero(theirs)?.replace(names[1], names[0]);
        assert_eq!(ours.print(ours_says)?, told, "{}", ours_says.join(" "));
        Ok(())
    };
    both(
        &["backup", "create", "b1", "--include-namespaces", "app1"],
        &["backup", "create", "b2", "--include-namespaces", "app1"],
        ["b1", "b2"],
    )?;
    for (verb, more) in [
        ("create", &["--schedule", "@daily"][..]),
        ("pause", &[]),
        ("pause", &[]),
        ("unpause", &[]),
        ("delete", &["--confirm"]),
    ] {
        let [ours, theirs] = ["s1", "s2"].map(|name| [&["schedule", verb, name], more].concat());
        both(&ours, &theirs, ["s1", "s2"])?;
    }
    let made = ["--provider", "aws", "--bucket", BUCKET, "--prefix", "x"];
    for (verb, more) in
        [("create", &made[..]), ("set", &["--credential", "cloud-credentials=cloud"]), ("delete", &["--confirm"])]
    {
        let [ours, theirs] = ["l1", "l2"].map(|name| [&["backup-location", verb, name], more].concat());
        both(&ours, &theirs, ["l1", "l2"])?;
    }
    for nothing in ["backup", "schedule", "backup-location"] {
        let command = [nothing, "delete", "nosuch", "--confirm"];
        both(&command, &command, ["nosuch", "nosuch"])?;
    }
    installation.until("both backups have ended", |installation| {
        let table = installation.velero(&["backup", "get"])?;
        Ok((table.matches("Completed").count() == 2).then_some(()))
    })?;
    let both = |ours_says: &[&str], theirs: &[&str], names: [&str; 2]| -> Result<()> {
        let told = installation.velero(theirs)?.replace(names[1], names[0]);
        assert_eq!(ours.print(ours_says)?, told, "{}", ours_says.join(" "));
        Ok(())
    };
    both(
        &["restore", "create", "r1", "--from-backup", "b1"],
        &["restore", "create", "r2", "--from-backup", "b1"],
        ["r1", "r2"],
    )?;
    installation.until("both restores have ended", |installation| {
        let table = installation.velero(&["restore", "get"])?;
        Ok((table.matches("Completed").count() == 2).then_some(()))
    })?;
    let file = |name: &str| installation.api.scratch().join(name).display().to_string();
    let [here, there] = [file("here.tar.gz"), file("there.tar.gz")];
    let told = installation.velero(&["backup", "download", "b1", "-o", &there])?.replace("there.tar.gz", "here.tar.gz");
    assert_eq!(ours.print(&["backup", "download", "b1", "-o", &here])?, told);
    assert_eq!(std::fs::read(&here)?, std::fs::read(&there)?);
    assert!(ours.refused(&["backup", "download", "b1", "-o", &here])?.contains("--force replaces it"));
    for kind in ["restore", "backup"] {
        let [ours_says, theirs] =
            [["r1", "r2"], ["b1", "b2"]][usize::from(kind == "backup")].map(|name| [kind, "delete", name, "--confirm"]);
        let told = installation.velero(&theirs)?.replace(theirs[2], ours_says[2]);
        assert_eq!(ours.print(&ours_says)?, told);
    }
    installation.until("nothing is left", |installation| {
        let left = installation.velero(&["backup", "get"])? + &installation.velero(&["restore", "get"])?;
        Ok(left.is_empty().then_some(()))
    })
}

#[test]
fn what_users_type_and_the_stock_command_line_refuses_is_done() -> Result<()> {
    let (installation, ours) = shop()?;
    ours.print(&["schedule", "create", "daily-backup", "--schedule", "0 3 * * *", "--include-namespaces", "app1"])?;
    ours.print(&["backup", "create", "daily-backup-manual-test", "--from-schedule", "daily-backup", "--wait"])?;
    // Names alone, of which other commands take one.
    assert!(installation.velero(&["backup", "get", "-o", "name"]).is_err());
    let names = ours.print(&["backup", "get", "-o", "name"])?;
    assert_eq!(names, "daily-backup-manual-test\n");
    let described = ours.print(&["backup", "describe", names.trim()])?;
    assert!(described.starts_with("Name:         daily-backup-manual-test\n"), "{described}");
    let ttl = ["get", "backup", "-n", "velero", names.trim(), "-o", "jsonpath={.spec.ttl}"];
    assert_eq!(installation.api.kubectl().run(&ttl)?, "720h0m0s");
    // A word for a list that the stock command line takes for nothing.
    assert!(!installation.velero(&["schedule", "list"])?.contains("daily-backup"));
    assert!(ours.print(&["schedule", "list"])?.contains("daily-backup"));
    // What a user looks for when a backup has expired.
    let said = ours.refused(&["backup", "get", "ttl-test-backup"])?;
    assert_eq!(said, "error: backups.velero.io \"ttl-test-backup\" not found; velero backup get lists what is there\n");
    Ok(())
}

#[test]
fn a_wait_ends_with_a_code_that_tells_how_and_as_velero_with_success() -> Result<()> {
    let (_installation, ours) = shop()?;
    let rows = [("good", "app1", Some(0)), ("part", "nosuchns", Some(3))];
    for (name, namespace, code) in rows {
        let create = ["backup", "create", name, "--include-namespaces", namespace, "--wait"];
        assert_eq!(ours.code(&create)?, code, "{name}");
    }
    let said = ours.print(&["backup", "create", "part2", "--include-namespaces", "nosuchns", "--wait"])?;
    assert!(said.contains("Backup completed with status: PartiallyFailed."), "{said}");
    assert_eq!(ours.code(&["restore", "create", "--from-backup", "good", "--wait"])?, Some(0));
    assert_eq!(ours.code(&["backup", "delete", "good"])?, Some(1), "nobody answers");
    assert_eq!(
        ours.code(&[
            "backup",
            "create",
            "both",
            "--include-resources",
            "pods",
            "--include-namespace-scoped-resources",
            "pods"
        ])?,
        Some(1)
    );
    assert_eq!(ours.code(&["restore", "create"])?, Some(2));
    Ok(())
}

/// What became of an object or volume in a forecast.
fn deed(forecast: &Value, list: &str, name: &str) -> String {
    let lines = forecast[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = lines.iter().find(|line| line["name"] == *name);
    line.and_then(|line| line["action"].as_str()).unwrap_or("not there").to_owned()
}

#[test]
fn dry_runs_tell_what_would_be_done_and_make_nothing() -> Result<()> {
    let (installation, ours) = shop()?;
    let json = |arguments: &[&str]| -> Result<Value> { Ok(serde_json::from_str(&ours.print(arguments)?)?) };
    let backup = ["backup", "create", "dry", "--include-namespaces", "app1", "--dry-run", "-o", "json"];
    let forecast = json(&backup)?;
    assert_eq!((&forecast["objects"]["v1/ConfigMap"], &forecast["objects"]["v1/Namespace"]), (&json!(2), &json!(1)));
    assert_eq!(ours.print(&["backup", "get"])?, "");
    ours.print(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    let restore = ["restore", "create", "--from-backup", "b1", "--dry-run"];
    let forecast = json(&[&restore[..], &["-o", "json"]].concat())?;
    assert_eq!(deed(&forecast, "objects", "app1/settings"), "keep");
    let update = json(&[&restore[..], &["--existing-resource-policy=update", "-o", "json"]].concat())?;
    assert_eq!(deed(&update, "objects", "app1/settings"), "update");
    let mapped = [&restore[..], &["--namespace-mappings", "app1:app3"]].concat();
    let forecast = json(&[&mapped[..], &["-o", "json"]].concat())?;
    assert_eq!(["app3", "app3/settings"].map(|name| deed(&forecast, "objects", name)), ["create", "create"]);
    let told = ours.print(&mapped)?;
    assert!(told.contains("create   v1/ConfigMap") && told.ends_with("Nothing was changed.\n"), "{told}");
    assert_eq!(ours.print(&["restore", "get"])?, "");
    let namespace = installation.api.kubectl().run(&["get", "namespace", "app3", "--ignore-not-found"])?;
    assert_eq!(namespace, "");
    Ok(())
}

#[test]
fn a_dry_run_of_an_encrypted_backup_needs_the_identity() -> Result<()> {
    let (installation, ours) = shop()?;
    let key = String::from_utf8(Command::new(Tool::AgeKeygen.path()?).output()?.stdout)?;
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).context("a public key")?;
    let file = installation.api.scratch().join("identity");
    std::fs::write(&file, &key)?;
    let annotation = format!("trysail.io/recipients={recipient}");
    let annotate = ["annotate", "backupstoragelocations.velero.io", "default", "-n", "velero", &annotation];
    installation.api.kubectl().run(&annotate)?;
    ours.print(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    let restore = ["restore", "create", "--from-backup", "b1", "--dry-run"];
    let said = ours.refused(&restore)?;
    assert!(said.contains("backup b1 is encrypted: --identity FILE opens it here"), "{said}");
    let told = ours.print(&[&restore[..], &["--identity", file.to_str().context("UTF-8")?]].concat())?;
    assert!(told.contains("app1/settings"), "{told}");
    Ok(())
}

#[test]
fn the_doctor_names_what_is_dangerous_and_ends_with_one() -> Result<()> {
    let (installation, ours) = shop()?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "namespace": "app1" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    installation.apply(&claim)?;
    assert_eq!(ours.code(&["doctor"])?, Some(1));
    let output = ours.command(&ours.program, &["doctor", "-o", "json"])?;
    let hazards: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let told = |hazard: &Value| format!("{} {}", hazard["weight"], hazard["object"]).replace('"', "");
    let expected = ["unsafe backup-location/default", "unsafe namespace/app1", "advice backup-location/default"];
    assert_eq!(hazards.iter().map(told).collect::<Vec<_>>(), expected);
    // With recipients nobody can read, and with a schedule nothing is forgotten: what is left is advice.
    let (_, recipient) = Identity::ephemeral();
    let annotation = format!("trysail.io/recipients={}", recipient.text());
    let annotate = ["annotate", "backupstoragelocations.velero.io", "default", "-n", "velero", &annotation];
    installation.api.kubectl().run(&annotate)?;
    ours.print(&["schedule", "create", "app1", "--schedule", "@daily", "--include-namespaces", "app1"])?;
    assert_eq!(ours.code(&["doctor"])?, Some(0));
    Ok(())
}
