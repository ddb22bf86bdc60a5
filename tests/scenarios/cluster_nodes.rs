//! Promises of a cluster of two nodes (feature `cluster`; needs root, containerd, runc, CNI plugins, nftables and Go).
#![cfg(feature = "cluster")]

use std::{
    io::Write as _,
    net::{IpAddr, TcpListener, UdpSocket},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    cluster::{Cluster, ClusterOptions, addons},
    image::{self, BUSYBOX},
    prerequisites::find,
    wait,
};

/// Time until a pod runs, on a busy computer.
const POD_TIME: Duration = Duration::from_mins(5);

/// Seconds after which a connection that must not come about has not.
const SILENCE: &str = "2";

/// One cluster for all tests of this file; it goes away with the process.
fn cluster(test: &str) -> Result<Option<&'static Cluster>> {
    static CLUSTER: OnceLock<Result<Cluster>> = OnceLock::new();
    if !Cluster::can_start(test)? {
        return Ok(None);
    }
    let cluster = CLUSTER.get_or_init(|| Cluster::start(ClusterOptions { nodes: 2 }));
    cluster.as_ref().map(Some).map_err(|error| anyhow!("{error:#}"))
}

/// A pod of one busybox on a node.
fn pod(name: &str, node: &str, command: &str) -> Value {
    let container =
        json!({ "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", command] });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "nodeSelector": { "kubernetes.io/hostname": node }, "terminationGracePeriodSeconds": 1, "containers": [container] },
    })
}

fn run(cluster: &Cluster, pod: &Value) -> Result<()> {
    cluster.kubectl().apply_object(pod)?;
    wait_for(cluster, pod["metadata"]["name"].as_str().context("a pod has a name")?)
}

fn wait_for(cluster: &Cluster, name: &str) -> Result<()> {
    let limit = format!("--timeout={}s", POD_TIME.as_secs());
    let waited = cluster.kubectl().run(&["wait", "--for=condition=Ready", &format!("pod/{name}"), &limit]);
    waited.map(|_| ()).with_context(|| cluster.kubectl().run(&["describe", "pod", name]).unwrap_or_default())
}

fn exec(cluster: &Cluster, pod: &str, command: &str) -> Result<String> {
    cluster.kubectl().run(&["exec", pod, "--", "sh", "-c", command])
}

#[test]
fn both_nodes_are_ready_at_their_addresses() -> Result<()> {
    let Some(cluster) = cluster("both_nodes_are_ready_at_their_addresses")? else { return Ok(()) };
    let nodes = cluster.kubectl().get(&["nodes"])?;
    let item = |node: &Value| {
        let of = |list: &Value, kind: &str, field: &str| {
            let list = list.as_array().into_iter().flatten();
            list.filter(|entry| entry["type"] == kind).map(|entry| entry[field].clone()).next()
        };
        let status = &node["status"];
        (of(&status["conditions"], "Ready", "status"), of(&status["addresses"], "InternalIP", "address"))
    };
    let found: Vec<_> = nodes["items"].as_array().context("nodes are listed")?.iter().map(item).collect();
    let expected = |index| (Some(json!("True")), Some(json!(cluster.network().node(index))));
    assert_eq!(found, [expected(1), expected(2)]);
    Ok(())
}

#[test]
fn what_a_pod_writes_into_a_claim_is_read_below_the_kubelets_pods() -> Result<()> {
    let Some(cluster) = cluster("what_a_pod_writes_into_a_claim_is_read_below_the_kubelets_pods")? else {
        return Ok(());
    };
    for node in cluster.nodes() {
        let name = format!("writer-{}", node.machine().name());
        let storage = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
        let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name }, "spec": storage });
        cluster.kubectl().apply_object(&claim)?;
        let mut writer = pod(&name, node.machine().name(), "echo kept > /data/file; exec sleep infinity");
        writer["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
        writer["spec"]["containers"][0]["readinessProbe"] =
            json!({ "exec": { "command": ["test", "-s", "/data/file"] }, "periodSeconds": 1 });
        writer["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": name } }]);
        run(cluster, &writer)?;
        let claim = cluster.kubectl().get(&["persistentvolumeclaim", &name])?;
        assert_eq!(claim["spec"]["storageClassName"], addons::STORAGE_CLASS);
        let uid = cluster.kubectl().get(&["pod", &name])?["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let volume = claim["spec"]["volumeName"].as_str().context("the claim is bound")?;
        let path = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~local-volume/{volume}/file");
        assert_eq!(node.machine().shell(&format!("cat '{path}'"))?, "kept\n");
    }
    Ok(())
}

#[test]
fn pods_on_two_nodes_talk_by_address_and_by_name() -> Result<()> {
    let Some(cluster) = cluster("pods_on_two_nodes_talk_by_address_and_by_name")? else { return Ok(()) };
    let serve = "mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www";
    let mut server = pod("server", "node1", serve);
    server["spec"]["containers"][0]["readinessProbe"] =
        json!({ "httpGet": { "port": 8080, "path": "/" }, "periodSeconds": 1 });
    run(cluster, &server)?;
    run(cluster, &pod("client", "node2", "exec sleep infinity"))?;
    let service = json!({ "selector": { "app": "server" }, "ports": [{ "port": 80, "targetPort": 8080 }] });
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "server" }, "spec": service });
    cluster.kubectl().apply_object(&service)?;
    let address = cluster.kubectl().run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?;
    assert_eq!(exec(cluster, "client", &format!("wget -qO- http://{address}:8080/"))?, "here\n");
    let answer = wait::until("the service is known on the other node", POD_TIME, || {
        Ok(exec(cluster, "client", "timeout 5 wget -qO- http://server.default.svc.cluster.local/").ok())
    })?;
    assert_eq!(answer, "here\n");
    Ok(())
}

#[test]
fn minio_is_reached_from_a_pod_on_each_node_and_from_outside() -> Result<()> {
    let Some(cluster) = cluster("minio_is_reached_from_a_pod_on_each_node_and_from_outside")? else { return Ok(()) };
    let minio = cluster.minio();
    minio.make_bucket("public")?;
    minio.mc(&["anonymous", "set", "download", "t/public"])?;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(b"an object\n")?;
    let path = file.path().to_str().context("the path of a file is UTF-8")?;
    minio.mc(&["cp", path, "t/public/object"])?;
    assert_eq!(minio.mc(&["cat", "t/public/object"])?, "an object\n");
    for node in cluster.nodes() {
        let name = format!("asks-minio-{}", node.machine().name());
        run(cluster, &pod(&name, node.machine().name(), "exec sleep infinity"))?;
        let url = format!("{}/public/object", minio.endpoint());
        assert_eq!(exec(cluster, &name, &format!("wget -qO- {url}"))?, "an object\n", "{name}");
    }
    Ok(())
}

/// The address by which others know this computer, if there are others. A UDP socket finds it without a packet.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("203.0.113.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[test]
fn there_is_no_way_out() -> Result<()> {
    let Some(cluster) = cluster("there_is_no_way_out")? else { return Ok(()) };
    for node in cluster.nodes() {
        assert_eq!(node.machine().shell("ip route show default; ip -6 route show default")?, "");
    }
    run(cluster, &pod("prisoner", "node2", "exec sleep infinity"))?;
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    // Who is connected is told so at once, by the end of the connection.
    thread::spawn(move || listener.incoming().for_each(drop));
    let computer = IpAddr::V4(cluster.network().computer);
    let connect =
        |address: IpAddr| format!("nc -w {SILENCE} {address} {port} </dev/null && echo connected || echo silence");
    let node = cluster.nodes()[1].machine();
    let try_on_node = |address| node.shell(&format!("busybox {}", connect(address)));
    // The listener can be reached where there is a way: this computer is on the wire of the nodes.
    assert_eq!(try_on_node(computer)?, "connected\n");
    assert_eq!(exec(cluster, "prisoner", &connect(computer))?, "silence\n");
    if let Some(outer) = outer_address() {
        assert_eq!([try_on_node(outer)?, exec(cluster, "prisoner", &connect(outer))?], ["silence\n", "silence\n"]);
    }
    Ok(())
}

/// This computer would answer a pod through its own gateway, so what a pod sends must not arrive. The request of a file by
/// TFTP is a datagram that busybox can send; the name of the file tells who sent it.
#[test]
fn no_datagram_of_a_pod_arrives_at_this_computer() -> Result<()> {
    let Some(cluster) = cluster("no_datagram_of_a_pod_arrives_at_this_computer")? else { return Ok(()) };
    run(cluster, &pod("sender", "node1", "exec sleep infinity"))?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(POD_TIME))?;
    let (computer, port) = (cluster.network().computer, socket.local_addr()?.port());
    let ask = |sender: &str| format!("timeout 1 busybox tftp -g -l /dev/null -r {sender} {computer} {port} 2>&1; true");
    exec(cluster, "sender", &ask("pod"))?;
    cluster.nodes()[0].machine().shell(&ask("node"))?;
    let mut datagram = [0; 512];
    let length = socket.recv(&mut datagram)?;
    let name = datagram[..length].get(2..6).context("a request names a file")?;
    assert_eq!(name, b"node");
    Ok(())
}

#[test]
fn an_image_is_loaded_into_all_nodes_while_they_run() -> Result<()> {
    let Some(cluster) = cluster("an_image_is_loaded_into_all_nodes_while_they_run")? else { return Ok(()) };
    let program = find("busybox").context("busybox is installed")?;
    cluster.load_image(&image::of_program("localhost/ours:1", &program)?.archive)?;
    for node in cluster.nodes() {
        let name = format!("ours-{}", node.machine().name());
        let mut pod = pod(&name, node.machine().name(), "");
        pod["spec"]["containers"][0]["image"] = json!("localhost/ours:1");
        pod["spec"]["containers"][0]["command"] = json!(["/busybox", "sleep", "infinity"]);
        run(cluster, &pod)?;
    }
    Ok(())
}

#[test]
fn a_command_on_a_node_ends_with_its_own_exit_code() -> Result<()> {
    let Some(cluster) = cluster("a_command_on_a_node_ends_with_its_own_exit_code")? else { return Ok(()) };
    let mut command: Command = cluster.nodes()[0].machine().command("sh");
    let status = command.args(["-c", "test \"$(hostname)\" = node1 && exit 7"]).stdin(Stdio::null()).status()?;
    ensure!(status.code() == Some(7), "{status}");
    Ok(())
}
