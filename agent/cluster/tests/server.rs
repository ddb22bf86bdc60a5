//! Collection from API servers that answer as a real one does at bad moments. The server is a function.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::service_fn;
use trysail_api::backup::BackupSpec;
use trysail_cluster::{
    Class, Error,
    collect::{Collected, Request as Backup, collect},
    kind::Item,
    problem::Problems,
};

/// Answers by path and query, each used once and in order, the last one for ever.
type Answers = HashMap<&'static str, Vec<(u16, Value)>>;

/// Objects that wait to be taken.
const WAITING: usize = 64;

/// A client of a server that gives these answers, and 404 for all else.
fn client(answers: Answers) -> Client {
    let answers = Arc::new(Mutex::new(answers));
    let service = service_fn(move |request: Request<Body>| {
        let asked = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let mut answers = answers.lock().unwrap();
        let (code, body) = match answers.get_mut(asked.as_str()) {
            Some(list) if list.len() > 1 => list.remove(0),
            Some(list) => list[0].clone(),
            None => refusal(404, &format!("nobody expects {asked}")),
        };
        let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    Client::new(service, "default")
}

fn refusal(code: u16, message: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}))
}

fn resource(plural: &str, kind: &str, scope: &str) -> Value {
    let verbs = ["create", "delete", "get", "list"];
    json!({
        "resource": plural, "singularResource": "", "scope": scope, "verbs": verbs,
        "responseKind": {"group": "", "version": "v1", "kind": kind},
    })
}

fn page(names: &[&str], token: &str) -> (u16, Value) {
    let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name, "namespace": "n"}})).collect();
    (200, json!({"kind": "List", "metadata": {"continue": token}, "items": items}))
}

const MAPS: &str = "/api/v1/configmaps?&limit=500";
const MAPS_AFTER: &str = "/api/v1/configmaps?&limit=500&continue=token";
const SECRETS: &str = "/api/v1/secrets?&limit=500";

/// A server with one namespace, its maps and secrets, and a group that does not answer.
fn answers() -> Answers {
    let kinds = json!([
        resource("secrets", "Secret", "Namespaced"),
        resource("namespaces", "Namespace", "Cluster"),
        resource("configmaps", "ConfigMap", "Namespaced"),
    ]);
    let version = json!({"version": "v1", "resources": kinds, "freshness": "Current"});
    let core = json!({"items": [{"metadata": {"name": ""}, "versions": [version]}]});
    let lost = json!({"version": "v1beta1", "resources": [], "freshness": "Stale"});
    let others = json!({"items": [{"metadata": {"name": "metrics.k8s.io"}, "versions": [lost]}]});
    let namespace = json!({"metadata": {"name": "n"}, "status": {"phase": "Active"}});
    Answers::from([
        ("/api", vec![(200, core)]),
        ("/apis", vec![(200, others)]),
        ("/api/v1/namespaces?&limit=500", vec![(200, json!({"metadata": {}, "items": [namespace]}))]),
        (MAPS, vec![page(&["a", "b"], "")]),
        (SECRETS, vec![page(&["s"], "")]),
    ])
}

async fn collected(answers: Answers) -> (Collected, Vec<String>) {
    let (sender, mut receiver) = mpsc::channel::<Item>(WAITING);
    let request = Backup { backup: "b".to_owned(), spec: BackupSpec::default() };
    let collected = collect(&client(answers), &request, sender).await.unwrap();
    let mut names = Vec::new();
    while let Some(item) = receiver.recv().await {
        names.push(item.full_name().to_string());
    }
    (collected, names)
}

fn messages(problems: &Problems) -> Vec<&str> {
    problems.kept().iter().map(|problem| problem.message.as_str()).collect()
}

#[tokio::test]
async fn all_objects_come_once_and_a_lost_group_is_a_warning() {
    let (collected, names) = collected(answers()).await;
    assert_eq!(names, ["configmaps n/a", "configmaps n/b", "secrets n/s", "namespaces n"]);
    assert_eq!((collected.count, collected.report.errors.count()), (4, 0));
    assert_eq!(
        messages(&collected.report.warnings),
        ["kinds of API group metrics.k8s.io/v1beta1 may be missing: its server does not answer"]
    );
}

#[tokio::test]
async fn a_list_that_expires_begins_again_and_no_object_comes_twice() {
    let mut answers = answers();
    answers.insert(MAPS, vec![page(&["a", "b"], "token"), page(&["a", "c"], "")]);
    answers.insert(MAPS_AFTER, vec![refusal(410, "The provided continue parameter is too old")]);
    let (collected, names) = collected(answers).await;
    assert_eq!(names, ["configmaps n/a", "configmaps n/b", "configmaps n/c", "secrets n/s", "namespaces n"]);
    assert_eq!(collected.report.errors.count(), 0);
}

#[tokio::test]
async fn a_list_that_expires_for_ever_is_an_error_and_the_others_go_on() {
    let mut answers = answers();
    answers.insert(MAPS, vec![page(&["a"], "token")]);
    answers.insert(MAPS_AFTER, vec![refusal(410, "The provided continue parameter is too old")]);
    let (collected, names) = collected(answers).await;
    assert_eq!(names, ["configmaps n/a", "secrets n/s", "namespaces n"]);
    assert_eq!(messages(&collected.report.errors), ["the list of configmaps expired 3 times before its end"]);
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let mut answers = answers();
    answers.insert(MAPS, vec![page(&["a"], "token")]);
    answers.insert(MAPS_AFTER, vec![page(&["b"], "")]);
    let (_, names) = collected(answers).await;
    assert_eq!(names, ["configmaps n/a", "configmaps n/b", "secrets n/s", "namespaces n"]);
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_is_an_error_and_the_others_are_taken() {
    let mut answers = answers();
    answers.insert(SECRETS, vec![refusal(403, "secrets is forbidden")]);
    let (collected, names) = collected(answers).await;
    assert_eq!(names, ["configmaps n/a", "configmaps n/b", "namespaces n"]);
    assert_eq!(messages(&collected.report.errors), ["secrets cannot be listed: secrets is forbidden"]);
}

#[tokio::test]
async fn a_list_that_is_none_is_an_error_and_the_others_are_taken() {
    let mut answers = answers();
    answers.insert(MAPS, vec![(200, json!({"items": "none"}))]);
    let (collected, names) = collected(answers).await;
    assert_eq!(names, ["secrets n/s", "namespaces n"]);
    let errors = messages(&collected.report.errors);
    assert!(errors[0].starts_with("the API server's list of configmaps cannot be understood: "), "{errors:?}");
}

#[tokio::test]
async fn a_request_that_fails_for_a_moment_is_tried_again() {
    let mut answers = answers();
    answers.insert(MAPS, vec![refusal(503, "etcdserver: leader changed"), page(&["a"], "")]);
    let (collected, names) = collected(answers).await;
    assert_eq!(names, ["configmaps n/a", "secrets n/s", "namespaces n"]);
    assert_eq!(collected.report.errors.count(), 0);
}

#[tokio::test]
async fn collection_ends_when_nobody_takes_objects() {
    let (sender, receiver) = mpsc::channel::<Item>(WAITING);
    drop(receiver);
    let ended = collect(&client(answers()), &Backup::default(), sender).await;
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_does_not_say_its_kinds_is_an_error_with_its_path() {
    let mut answers = answers();
    answers.insert("/api", vec![refusal(403, "no")]);
    let (sender, _receiver) = mpsc::channel::<Item>(WAITING);
    let error = collect(&client(answers), &Backup::default(), sender).await.unwrap_err();
    let expected = "kinds of objects cannot be discovered at /api: no";
    assert_eq!((error.sentence().as_str(), error.class()), (expected, Class::Denied));
}
