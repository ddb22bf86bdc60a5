//! What our Nix modules render runs: applied object by object to a real cluster, it becomes ready with the rights that are
//! rendered, and its Schedules save volumes that come back (feature `cluster`).
//!
//! The story is played once, in a cluster of its own; each test looks at one thing that it promises.
#![cfg(feature = "cluster")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application,
    audit::{self, Request},
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    minio::{ACCESS_KEY, SECRET_KEY},
    nix,
    prerequisites::{Rights, are_met},
    rights::{self, Right},
    tools::{Tool, monitoring_definitions},
};

/// The bucket of the location with recipients.
const SEALED_BUCKET: &str = "sealed";

/// Its own Secret of the store, which no pod mounts.
const SEALED_CREDENTIAL: &str = "sealed-s3";

/// The Secret with the identity for restores from it.
const IDENTITY: &str = "identity";

/// Who applies, as Flux names itself.
const MANAGER: &str = "kustomize-controller";

/// Rights that the story does not use, and why they are given all the same.
const UNUSED: [(&str, &str); 3] = [
    ("velero: delete batch/jobs in velero", "the restore of a volume that is cancelled or cannot go on ends its Job"),
    ("velero: list coordination.k8s.io/leases in velero", "a volume that belongs to no node is read by any"),
    ("velero: patch events.k8s.io/events in velero", "an Event that happens again is counted and not told anew"),
];

/// A namespace that was saved by a rendered Schedule, lost, and restored.
#[derive(Debug, PartialEq, Eq)]
struct Returned {
    before: String,
    after: String,
    /// How many volumes the backup saved.
    volumes: usize,
}

/// What was seen.
#[derive(Debug)]
struct Story {
    objects: Vec<Value>,
    /// Objects of kinds that the API server does not know.
    foreign: Vec<String>,
    /// What the kernel says of the processes: server and node agent.
    processes: [String; 2],
    plain: Returned,
    sealed: Returned,
    /// The first bytes of packs in the buckets without and with recipients.
    packs: [String; 2],
    requests: BTreeSet<Request>,
    /// Containers of ours that were started anew.
    restarts: Vec<String>,
    /// How many lines our programs logged, and how many of them have the secret of the store.
    logged: [usize; 2],
}

fn story(test: &str) -> Result<Option<&'static Story>> {
    static STORY: OnceLock<Result<Story>> = OnceLock::new();
    if !(Cluster::can_start(test)? && are_met(test, &nix::PROGRAMS, Rights::Any)?) {
        return Ok(None);
    }
    let story = STORY.get_or_init(play);
    story.as_ref().map(Some).map_err(|error| anyhow!("{error:#}"))
}

/// Nearly everything that can be rendered. The Schedules fire each minute until they are paused.
fn settings(endpoint: &str, recipient: &str) -> Value {
    let location = |bucket: &str| json!({ "bucket": bucket, "endpoint": endpoint, "allowInsecure": true });
    let schedule = |location: &str, namespace: &str| {
        json!({
            "schedule": "* * * * *", "includedNamespaces": [namespace], "storageLocation": location, "ttl": "24h",
            "backupLabels": { "made": "by-schedule" },
        })
    };
    let mut sealed = location(SEALED_BUCKET);
    sealed["recipients"] = json!([recipient]);
    sealed["credential"] = json!({ "name": SEALED_CREDENTIAL });
    json!({ "trysail": {
        "enable": true,
        "image": { "repository": "localhost/trysail", "tag": "test", "pullPolicy": "Never" },
        "locations": { "default": location(BUCKET), "sealed": sealed },
        "schedules": { "plain": schedule("default", "plain"), "sealed": schedule("sealed", "sealed") },
        "monitoring": { "enable": true },
        "networkPolicy": { "enable": true },
        // A directory of the node that is gone with it.
        "openebs": { "enable": true, "classes": { "openebs-hostpath": { "basePath": "/var/lib/openebs" } } },
    }})
}

fn play() -> Result<Story> {
    let deployment = Deployment::bare(1)?;
    let minio = deployment.cluster.minio();
    minio.make_bucket(SEALED_BUCKET)?;
    let (identity, recipient) = key_pair()?;
    let objects = nix::objects(&settings(&minio.endpoint(), &recipient))?;
    let foreign = install(&deployment, &objects, &identity)?;
    let before = ["plain", "sealed"].map(|name| application::start(&deployment, name));
    apply_all(&deployment, objects.iter().filter(|object| object["kind"] == "Schedule"))?;
    let processes = ["server", "node-agent server"].map(|arguments| process(&deployment, arguments));
    let [plain, sealed] = before;
    let (plain_backup, plain) = lost_and_restored(&deployment, "plain", plain?, false)?;
    let (_, sealed) = lost_and_restored(&deployment, "sealed", sealed?, true)?;
    let packs = [pack(&deployment, BUCKET, "plain")?, pack(&deployment, SEALED_BUCKET, "sealed")?];
    use_the_rest(&deployment, &plain_backup)?;
    let [server, agent] = processes;
    Ok(Story {
        foreign,
        processes: [server?, agent?],
        plain,
        sealed,
        packs,
        requests: audit::requests(&deployment.cluster.logs())?,
        restarts: restarts(&deployment)?,
        logged: logged(&deployment)?,
        objects,
    })
}

/// A new age identity and its recipient.
fn key_pair() -> Result<(String, String)> {
    let made = Command::new(Tool::AgeKeygen.path()?).output().context("start age-keygen")?;
    let identity = String::from_utf8(made.stdout)?;
    let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).context("a recipient")?;
    Ok((identity.clone(), recipient.to_owned()))
}

/// Applies all objects but Schedules, each by itself, and waits until all is ready; objects of kinds that are not known.
fn install(deployment: &Deployment, objects: &[Value], identity: &str) -> Result<Vec<String>> {
    let of = |kinds: &'static [&'static str]| {
        objects.iter().filter(|object| kinds.contains(&object["kind"].as_str().unwrap_or_default()))
    };
    for path in monitoring_definitions()? {
        let file = path.to_str().context("UTF-8")?;
        deployment.cluster.kubectl().run(&["apply", "--server-side", "-f", file])?;
    }
    apply_all(deployment, of(&["CustomResourceDefinition"]))?;
    deployment.wait_for_definitions()?;
    apply_all(deployment, of(&["Namespace"]))?;
    let cloud = format!("[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
    let secrets = [
        ("velero-s3-secret", "cloud", cloud.as_str()),
        (SEALED_CREDENTIAL, "cloud", cloud.as_str()),
        (IDENTITY, "identity", identity),
    ];
    for (name, key, value) in secrets {
        deployment.cluster.kubectl().apply_object(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "velero", "name": name },
            "stringData": { key: value },
        }))?;
    }
    let earlier = ["CustomResourceDefinition", "Namespace", "Schedule"];
    let others = objects.iter().filter(|object| !earlier.contains(&object["kind"].as_str().unwrap_or_default()));
    let foreign = apply_all(deployment, others)?;
    deployment.wait_until_ready()?;
    Ok(foreign)
}

/// Applies as Flux does, on the server; a field that a definition does not know is an error.
fn apply_all<'a>(deployment: &Deployment, objects: impl Iterator<Item = &'a Value>) -> Result<Vec<String>> {
    let mut foreign = Vec::new();
    for object in objects {
        let name = format!(
            "{} {}",
            object["kind"].as_str().context("a kind")?,
            object["metadata"]["name"].as_str().context("a name")?
        );
        let manager = format!("--field-manager={MANAGER}");
        let arguments = ["apply", "--server-side", "--validate=strict", &manager, "-f", "-"];
        let output = deployment.cluster.kubectl().output(&arguments, &object.to_string())?;
        let error = String::from_utf8_lossy(&output.stderr);
        if error.contains("no matches for kind") {
            foreign.push(name);
        } else {
            ensure!(output.status.success(), "{name}: {error}");
        }
    }
    foreign.sort();
    Ok(foreign)
}

/// What the kernel says of the process with these arguments, of its root and of its credentials; how often its environment
/// has the secret.
fn process(deployment: &Deployment, arguments: &str) -> Result<String> {
    let node = deployment.cluster.nodes().first().context("a node")?;
    node.machine().shell(&format!(
        "for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q '^/velero {arguments} '; then \
         cat $p/task/*/status | grep -E '^(Uid|Gid|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp):' | sort -u; \
         awk '$5 == \"/\" {{ sub(\",.*\", \"\", $6); print \"Root:\\t\" $6 }}' $p/mountinfo; \
         (cd $p/root; stat -Lc 'Credentials: %a %u:%g' credentials/cloud); \
         grep -c {SECRET_KEY} $p/environ || :; fi; done"
    ))
}

/// Waits for a backup of a Schedule that has its volume, loses the namespace, and restores it.
fn lost_and_restored(
    deployment: &Deployment,
    name: &str,
    before: String,
    is_sealed: bool,
) -> Result<(String, Returned)> {
    let backup = deployment.until(&format!("Schedule {name} makes a backup"), |deployment| {
        let label = format!("velero.io/schedule-name={name}");
        let list = deployment.cluster.kubectl().get(&["backups.velero.io", "-n", "velero", "-l", &label])?;
        Ok(list["items"][0]["metadata"]["name"].as_str().map(str::to_owned))
    })?;
    deployment.velero(Tool::Velero118, &["schedule", "pause", name])?;
    completed(deployment, "backup", &backup)?;
    let label = format!("velero.io/backup-name={backup}");
    let saved = deployment.cluster.kubectl().get(&["podvolumebackups.velero.io", "-n", "velero", "-l", &label])?;
    application::lose(deployment, name)?;
    let mut restore = json!({
        "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "namespace": "velero", "name": name },
        "spec": { "backupName": backup },
    });
    if is_sealed {
        restore["metadata"]["annotations"] = json!({ "trysail.io/identity-secret": IDENTITY });
    }
    deployment.cluster.kubectl().apply_object(&restore)?;
    completed(deployment, "restore", name)?;
    let after = application::restored(deployment, name)?;
    let volumes = saved["items"].as_array().map_or(0, Vec::len);
    Ok((backup, Returned { before, after, volumes }))
}

fn completed(deployment: &Deployment, kind: &str, name: &str) -> Result<()> {
    let ended = deployment.ended(kind, name)?;
    let told = || {
        let described = deployment.velero(Tool::Velero118, &[kind, "describe", name, "--details"]);
        let logs = deployment.velero(Tool::Velero118, &[kind, "logs", name]);
        format!("{}\n{described:?}\n{logs:?}\n{}", ended["status"], deployment.words())
    };
    ensure!(ended["status"]["phase"] == "Completed", "{}", told());
    Ok(())
}

/// The first line of a pack of a namespace's repository.
fn pack(deployment: &Deployment, bucket: &str, namespace: &str) -> Result<String> {
    let minio = deployment.cluster.minio();
    let found = minio.mc(&["find", &format!("t/{bucket}/kopia/{namespace}/v1/p"), "--name", "*.pk"])?;
    let pack = found.lines().next().context("a pack")?;
    Ok(minio.mc(&["cat", pack])?.lines().next().unwrap_or_default().to_owned())
}

/// What a server does besides: it answers the command line, changes what is there, runs hooks, and deletes.
fn use_the_rest(deployment: &Deployment, backup: &str) -> Result<()> {
    let velero = |arguments: &[&str]| deployment.velero(Tool::Velero118, arguments);
    velero(&["version"])?;
    velero(&["backup", "logs", backup])?;
    let kubectl = deployment.cluster.kubectl();
    let hook = "pre.hook.backup.velero.io/command=[\"/bin/sync\"]";
    kubectl.run(&["-n", "plain", "annotate", "pod", "writer", hook])?;
    velero(&["backup", "create", "hooked", "--include-namespaces", "plain", "--wait"])?;
    completed(deployment, "backup", "hooked")?;
    kubectl.run(&["-n", "plain", "label", "pod", "writer", "changed=since"])?;
    let update =
        ["restore", "create", "again", "--from-backup", "hooked", "--existing-resource-policy=update", "--wait"];
    velero(&update)?;
    velero(&["restore", "delete", "again", "--confirm"])?;
    // A claim that no pod mounts is held by one of ours meanwhile.
    kubectl.run(&["-n", "plain", "delete", "pod", "writer"])?;
    velero(&["backup", "create", "idle", "--include-namespaces", "plain", "--wait"])?;
    completed(deployment, "backup", "idle")?;
    velero(&["backup", "delete", "hooked", "--confirm"])?;
    deployment.until("the Backup is gone", |d| Ok(d.object("backup", "hooked")?.is_null().then_some(())))
}

/// Containers of our pods that were started more than once.
fn restarts(deployment: &Deployment) -> Result<Vec<String>> {
    let pods = deployment.cluster.kubectl().get(&["pods", "-n", "velero"])?;
    let items = pods["items"].as_array().context("a list")?;
    let again = items.iter().filter(|pod| pod["status"]["containerStatuses"][0]["restartCount"] != 0);
    Ok(again.map(|pod| pod["metadata"]["name"].to_string()).collect())
}

/// How many lines our programs logged, and how many of them have the secret of the store.
fn logged(deployment: &Deployment) -> Result<[usize; 2]> {
    let kubectl = deployment.cluster.kubectl();
    let say = |workload: &str| kubectl.run(&["-n", "velero", "logs", workload, "--tail=-1"]);
    let logs = say("deployment/velero")? + &say("daemonset/node-agent")?;
    Ok([logs.lines().count(), logs.lines().filter(|line| line.contains(SECRET_KEY)).count()])
}

#[test]
fn each_rendered_object_is_taken_by_the_api_server() -> Result<()> {
    let Some(story) = story("each_rendered_object_is_taken_by_the_api_server")? else { return Ok(()) };
    assert_eq!(story.foreign, Vec::<String>::new(), "objects of kinds that nobody has defined");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &story.objects {
        *kinds.entry(object["kind"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let expected = [
        ("BackupStorageLocation", 2),
        ("ClusterRole", 2),
        ("ClusterRoleBinding", 2),
        ("ConfigMap", 1),
        ("CustomResourceDefinition", 14),
        ("DaemonSet", 1),
        ("Deployment", 1),
        ("Namespace", 1),
        ("NetworkPolicy", 2),
        ("PodMonitor", 1),
        ("PrometheusRule", 1),
        ("Role", 2),
        ("RoleBinding", 2),
        ("Schedule", 2),
        ("Service", 1),
        ("ServiceAccount", 2),
        ("ServiceMonitor", 1),
        ("StorageClass", 1),
    ];
    assert_eq!(kinds, expected.into());
    Ok(())
}

#[test]
fn server_and_agent_run_with_the_rights_that_are_rendered_and_no_more() -> Result<()> {
    let test = "server_and_agent_run_with_the_rights_that_are_rendered_and_no_more";
    let Some(story) = story(test)? else { return Ok(()) };
    let expected = |user: &str, reads: &str, credentials: &str| {
        let ids = [user; 4].join("\t");
        let none = "0000000000000000";
        format!(
            "CapAmb:\t{none}\nCapEff:\t{reads}\nCapInh:\t{none}\nCapPrm:\t{reads}\nGid:\t{ids}\nNoNewPrivs:\t1\n\
             Seccomp:\t2\nUid:\t{ids}\nRoot:\tro\nCredentials: {credentials}\n0\n"
        )
    };
    // Bit 2 is CAP_DAC_READ_SEARCH. Source: capability.h of Linux.
    let server = expected("65532", "0000000000000000", "440 0:65532");
    assert_eq!(story.processes, [server, expected("65534", "0000000000000004", "400 0:0")]);
    assert_eq!(story.restarts, [""; 0]);
    Ok(())
}

#[test]
fn the_secret_of_the_store_is_in_a_file_for_the_process_alone_and_in_no_log() -> Result<()> {
    let test = "the_secret_of_the_store_is_in_a_file_for_the_process_alone_and_in_no_log";
    let Some(story) = story(test)? else { return Ok(()) };
    let [lines, leaks] = story.logged;
    assert!(lines > 10, "{lines} lines were logged");
    assert_eq!(leaks, 0);
    Ok(())
}

#[test]
fn a_rendered_schedule_saves_a_volume_that_comes_back() -> Result<()> {
    let Some(story) = story("a_rendered_schedule_saves_a_volume_that_comes_back")? else { return Ok(()) };
    let Returned { before, after, volumes } = &story.plain;
    assert_eq!((after, *volumes), (before, 1));
    Ok(())
}

#[test]
fn a_rendered_location_with_recipients_keeps_nothing_readable_and_restores_with_the_identity() -> Result<()> {
    let test = "a_rendered_location_with_recipients_keeps_nothing_readable_and_restores_with_the_identity";
    let Some(story) = story(test)? else { return Ok(()) };
    let Returned { before, after, volumes } = &story.sealed;
    assert_eq!((after, *volumes), (before, 1));
    assert_eq!(story.packs.each_ref().map(|first| first == "age-encryption.org/v1"), [false, true]);
    Ok(())
}

#[test]
fn the_rendered_roles_give_what_is_used_and_nothing_else() -> Result<()> {
    let Some(story) = story("the_rendered_roles_give_what_is_used_and_nothing_else")? else { return Ok(()) };
    let given = rights::given(&story.objects)?;
    let missing = rights::missing(&given, &story.requests);
    assert!(missing.is_empty(), "used, and given by no role: {missing:#?}");
    let refused: Vec<_> = story.requests.iter().filter(|request| request.is_refused).collect();
    assert!(refused.is_empty(), "refused by the API server: {refused:#?}");
    let unused: Vec<String> = rights::unused(&given, &story.requests).into_iter().map(Right::told).collect();
    assert_eq!(unused, UNUSED.map(|(right, _)| right));
    Ok(())
}
