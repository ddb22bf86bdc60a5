//! Makes prepared objects: the one place of this folder that talks to the API server.

use std::time::Duration;

use kube::{
    Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{Resource as _, request::Request},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use trysail_api::names::label;

use super::{
    Action, edit,
    existing::{Verdict, judge, label_patch},
    prepare::{Prepared, metadata},
    rules::ExistingPolicy,
};
use crate::{
    error::{Class, Error, Result, class_of},
    kind::{Item, ItemName, Kind, text},
};

/// How often a request is tried that may succeed later.
const ATTEMPTS: u32 = 5;

/// Pause after the first of them; it doubles.
const PAUSE: Duration = Duration::from_millis(250);

/// Pause between looks at what somebody else changes.
const LOOK: Duration = Duration::from_millis(500);

/// How the API server says that a node port is taken, by the Service itself perhaps.
///
/// Source: Velero `pkg/restore/restore.go`, `isAlreadyExistsError`.
const PORT_TAKEN: &str = "provided port is already allocated";

/// Makes objects.
pub struct Applier {
    /// The API server.
    pub client: Client,
    /// What happens to objects that are there.
    pub policy: ExistingPolicy,
    /// The label of objects that an earlier run of this Restore made, where it was interrupted.
    pub made_before: Option<String>,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// In one word.
    pub action: Action,
    /// The object as the cluster has it, where it is known.
    pub object: Option<Value>,
    /// Why it is not as it was saved, where nobody wanted that.
    pub errors: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Applied {
    fn done(action: Action, object: Value) -> Self {
        Self { action, object: Some(object), errors: Vec::new(), warnings: Vec::new() }
    }

    fn failed(error: String) -> Self {
        Self { action: Action::Failed, object: None, errors: vec![error], warnings: Vec::new() }
    }
}

impl Applier {
    /// Makes an object, or does about the one that is there what the policy says.
    pub async fn apply(&self, prepared: &Prepared) -> Applied {
        let item = &prepared.item;
        let mut applied = match self.create(item).await {
            Ok(made) => Applied::done(Action::Created, made),
            Err(error) if may_exist(&error) => match self.get(&item.kind, &item.full_name()).await {
                Ok(Some(found)) => self.meet(item, found).await,
                Ok(None) => Applied::failed(refused(item, &error)),
                Err(error) => Applied::failed(refused(item, &error)),
            },
            Err(error) => Applied::failed(refused(item, &error)),
        };
        if applied.action == Action::Created {
            self.complete(prepared, &mut applied).await;
        }
        applied
    }

    /// What is done about an object that is there.
    async fn meet(&self, item: &Item, found: Value) -> Applied {
        let restore = found["metadata"]["labels"][label::RESTORE_NAME].as_str();
        if self.made_before.is_some() && restore == self.made_before.as_deref() {
            return Applied::done(Action::Created, found);
        }
        match judge(&item.kind.resource(), &item.object, &found, self.policy) {
            Verdict::Same => Applied::done(Action::Skipped, found),
            Verdict::Label(patch) => match self.patch(&item.kind, &item.full_name(), &patch).await {
                Ok(_) => Applied::done(Action::Skipped, found),
                Err(error) => Self::warned(item, found, &error),
            },
            Verdict::Differs => {
                let (kind, name) = (&item.kind.kind, item.name());
                let warning = format!(
                    "could not restore, {kind}:{name} already exists. \
                     Warning: the in-cluster version is different than the backed-up version"
                );
                Applied { warnings: vec![warning], ..Applied::done(Action::Failed, found) }
            }
            Verdict::Change(patch) => match self.patch(&item.kind, &item.full_name(), &patch).await {
                Ok(changed) => Applied::done(Action::Updated, changed),
                Err(error) => {
                    // The labels can be set all the same: by them the object is found.
                    if let Some(labels) = label_patch(&found, &item.object) {
                        let _ = self.patch(&item.kind, &item.full_name(), &labels).await;
                    }
                    Self::warned(item, found, &error)
                }
            },
        }
    }

    fn warned(item: &Item, found: Value, error: &kube::Error) -> Applied {
        Applied { warnings: vec![refused(item, error)], ..Applied::done(Action::Failed, found) }
    }

    /// Writes what an object cannot have when it is made: who owns its fields, and its status.
    async fn complete(&self, prepared: &Prepared, applied: &mut Applied) {
        let (kind, name) = (&prepared.item.kind, prepared.item.full_name());
        if let Some(status) = &prepared.status {
            let patch = json!({ "status": status });
            let done = match self
                .request(|| {
                    of(kind, &name).patch_subresource(
                        "status",
                        &name.name,
                        &PatchParams::default(),
                        &Patch::Merge(&patch),
                    )
                })
                .await
            {
                Err(error) if class_of(&error) == Class::Missing => self.patch(kind, &name, &patch).await,
                done => done,
            };
            applied.warnings.extend(done.err().map(|error| format!("status of {}", refused(&prepared.item, &error))));
        }
        if let Some(fields) = &prepared.managed_fields {
            let patch = json!({ "metadata": { "managedFields": fields } });
            match self.patch(kind, &name, &patch).await {
                // It may have gone meanwhile, as a pod may that nothing owns.
                Err(error) if class_of(&error) != Class::Missing => {
                    applied.warnings.push(format!("managed fields of {}", refused(&prepared.item, &error)));
                }
                _ => {}
            }
        }
    }

    /// Makes a namespace, after one of that name that ends has ended. None where it is there.
    ///
    /// # Errors
    /// It cannot be made, or the old one does not end in time.
    pub async fn ensure_namespace(
        &self,
        name: &str,
        stored: Option<Value>,
        patience: Duration,
    ) -> Result<Option<Value>> {
        let kind = namespace_kind();
        let item = ItemName::cluster_scoped("namespaces", name);
        let fails = |source: kube::Error| Error::Make { item: item.clone(), source: Box::new(source) };
        let until = Instant::now() + patience;
        loop {
            let found = match self.get(&kind, &item).await {
                // Rights of a ServiceAccount may end at its own namespaces; what goes into one that is not there says so.
                Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
                other => other.map_err(fails)?,
            };
            match found {
                Some(found) if is_ending(&found) => {
                    if Instant::now() >= until {
                        return Err(Error::Terminating { item, seconds: patience.as_secs() });
                    }
                    sleep(LOOK).await;
                }
                Some(_) => return Ok(None),
                None => break,
            }
        }
        let object = Item::new(kind.into(), namespace(name, stored));
        match self.create(&object).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if may_exist(&error) => Ok(None),
            Err(error) => Err(fails(error)),
        }
    }

    /// Waits until definitions of kinds are served; those that are not in time.
    ///
    /// # Errors
    /// The API server cannot be asked.
    pub async fn await_definitions(&self, kind: &Kind, names: &[String], patience: Duration) -> Result<Vec<String>> {
        let until = Instant::now() + patience;
        let mut missing = names.to_vec();
        loop {
            let mut still = Vec::new();
            for name in missing {
                let item = ItemName::cluster_scoped(&kind.resource(), &name);
                let found =
                    self.get(kind, &item).await.map_err(|source| Error::Get { item, source: Box::new(source) })?;
                if !found.is_some_and(|found| is_served(&found)) {
                    still.push(name);
                }
            }
            missing = still;
            if missing.is_empty() || Instant::now() >= until {
                return Ok(missing);
            }
            sleep(LOOK).await;
        }
    }

    async fn create(&self, item: &Item) -> Result<Value, kube::Error> {
        let body = serde_json::to_vec(&item.object).map_err(kube::Error::SerdeError)?;
        self.request(|| of(&item.kind, &item.full_name()).create(&PostParams::default(), body.clone())).await
    }

    /// An object of the cluster.
    async fn get(&self, kind: &Kind, item: &ItemName) -> Result<Option<Value>, kube::Error> {
        match self.request(|| of(kind, item).get(&item.name, &kube::api::GetParams::default())).await {
            Err(error) if class_of(&error) == Class::Missing => Ok(None),
            found => found.map(Some),
        }
    }

    async fn patch(&self, kind: &Kind, item: &ItemName, patch: &Value) -> Result<Value, kube::Error> {
        self.request(|| of(kind, item).patch(&item.name, &PatchParams::default(), &Patch::Merge(patch))).await
    }

    /// Sends a request until it is answered, a few times.
    async fn request(
        &self,
        make: impl Fn() -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, kube::Error> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let request = make().map_err(kube::Error::BuildRequest)?;
            match self.client.request::<Value>(request).await {
                Err(error) if is_passing(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
    }
}

fn of(kind: &Kind, item: &ItemName) -> Request {
    Request::new(DynamicObject::url_path(&kind.api_resource(), item.namespace.as_deref()))
}

fn namespace_kind() -> Kind {
    Kind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        plural: "namespaces".to_owned(),
        is_namespaced: false,
        aliases: Vec::new(),
    }
}

/// A namespace under its new name, with the labels and annotations that it had.
fn namespace(name: &str, stored: Option<Value>) -> Value {
    let mut object = stored.unwrap_or_else(|| json!({ "metadata": {} }));
    metadata::reset(&mut object);
    edit::set(&mut object, "/metadata", "name", name.into());
    if object["metadata"]["labels"].is_object() {
        edit::set(&mut object, "/metadata/labels", "kubernetes.io/metadata.name", name.into());
    }
    object
}

fn is_ending(namespace: &Value) -> bool {
    !namespace["metadata"]["deletionTimestamp"].is_null() || text(&namespace["status"]["phase"]) == "Terminating"
}

/// Source: Velero `pkg/util/kube/utils.go`, `IsV1CRDReady`.
fn is_served(definition: &Value) -> bool {
    let holds = |wanted: &str| {
        let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|one| text(&one["type"]) == wanted && text(&one["status"]) == "True")
    };
    holds("Established") && holds("NamesAccepted")
}

fn may_exist(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists" || status.message.contains(PORT_TAKEN))
}

/// Whether the same request may succeed later. A conflict does not pass by itself, but for writes of one object at once.
fn is_passing(error: &kube::Error) -> bool {
    !may_exist(error) && class_of(error) == Class::Transient
}

/// Source: Velero, `error restoring …`.
fn refused(item: &Item, error: &kube::Error) -> String {
    let why = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    format!("error restoring {}/{}: {why}", item.kind.resource(), item.full_name().within_kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_its_new_name_everywhere() {
        let stored = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": "app", "uid": "u", "labels": {"kubernetes.io/metadata.name": "app", "team": "a"},
                "annotations": {"x": "1"},
            },
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": "app2", "labels": {"kubernetes.io/metadata.name": "app2", "team": "a"}, "annotations": {"x": "1"},
            },
            "spec": {"finalizers": ["kubernetes"]},
        });
        assert_eq!(namespace("app2", Some(stored)), expected);
        assert_eq!(namespace("new", None), json!({"metadata": {"name": "new"}}));
    }

    #[test]
    fn a_definition_is_served_when_its_names_are_its_own() {
        let with = |names: &str| {
            let condition = |of: &str, status: &str| json!({"type": of, "status": status});
            json!({"status": {"conditions": [condition("Established", "True"), condition("NamesAccepted", names)]}})
        };
        assert_eq!([is_served(&with("True")), is_served(&with("False")), is_served(&json!({}))], [true, false, false]);
    }
}
