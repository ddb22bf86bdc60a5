//! A cluster as its users reach it: objects of Velero's kinds, asked for, made and changed. What they say is judged elsewhere.

pub(crate) mod download;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::Status,
    runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use trysail_controller::server;

use crate::{args::cluster::Connection, program};

/// Objects in one page of a list.
const PAGE: u32 = 500;

/// A kind of ours that lies in namespaces.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static
{
}

/// One namespace of a cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Objects of one kind, as the API server has them.
#[derive(Debug)]
pub(crate) struct Objects {
    /// The objects.
    pub(crate) items: Vec<DynamicObject>,
    /// The version of the list, where all were asked for.
    pub(crate) version: Option<String>,
}

impl Cluster {
    /// Finds the API server that was named, or that the environment names. Nothing is asked of it yet.
    pub(crate) async fn connect(connection: &Connection) -> Result<Self> {
        let client = server::client(connection.kubeconfig.as_deref(), connection.kubecontext.as_deref()).await;
        let client = client.context("--kubeconfig FILE or the variable KUBECONFIG says where a cluster is")?;
        Ok(Self { client, namespace: connection.namespace.clone() })
    }

    /// What speaks to the API server.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Objects of a kind.
    pub(crate) fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of a kind, with fields that our type does not know.
    fn untyped<K: Kind>(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()))
    }

    /// Named objects, or where no name is given, all with these labels.
    pub(crate) async fn objects<K: Kind>(&self, names: &[String], selector: Option<&str>) -> Result<Objects> {
        if names.is_empty() {
            return self.all::<K>(selector).await;
        }
        let mut items = Vec::new();
        for name in names {
            items.push(self.untyped::<K>().get(name).await.map_err(refusal::<K>)?);
        }
        Ok(Objects { items, version: None })
    }

    /// All objects with these labels, page after page.
    async fn all<K: Kind>(&self, selector: Option<&str>) -> Result<Objects> {
        let mut parameters = ListParams::default().labels(selector.unwrap_or_default()).limit(PAGE);
        let mut objects = Objects { items: Vec::new(), version: None };
        loop {
            let page = self.untyped::<K>().list(&parameters).await.map_err(refusal::<K>)?;
            objects.items.extend(page.items);
            objects.version = page.metadata.resource_version;
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(objects),
            }
        }
    }

    /// All objects of a kind with these labels, as our type.
    pub(crate) async fn list<K: Kind>(&self, selector: Option<&str>) -> Result<Vec<K>> {
        self.all::<K>(selector).await?.items.into_iter().map(typed).collect()
    }

    /// One object.
    pub(crate) async fn get<K: Kind>(&self, name: &str) -> Result<K> {
        self.api::<K>().get(name).await.map_err(refusal::<K>)
    }

    /// One object, or none.
    pub(crate) async fn find<K: Kind>(&self, name: &str) -> Result<Option<K>> {
        self.api::<K>().get_opt(name).await.map_err(refusal::<K>)
    }

    /// Makes an object; how it is then.
    pub(crate) async fn create<K: Kind>(&self, object: &K) -> Result<K> {
        self.api::<K>().create(&PostParams::default(), object).await.map_err(refusal::<K>)
    }

    /// Merges fields into an object.
    pub(crate) async fn merge<K: Kind>(&self, name: &str, fields: &Value) -> Result<()> {
        let merged = self.untyped::<K>().patch(name, &PatchParams::default(), &Patch::Merge(fields)).await;
        merged.map(drop).map_err(refusal::<K>)
    }

    /// Deletes an object.
    pub(crate) async fn delete<K: Kind>(&self, name: &str) -> Result<()> {
        self.api::<K>().delete(name, &DeleteParams::default()).await.map(drop).map_err(refusal::<K>)
    }

    /// Waits until an object is as it should be; none where it was deleted meanwhile.
    pub(crate) async fn until<K: Kind + Sync>(&self, name: &str, is_so: fn(&K) -> bool) -> Result<Option<K>> {
        let met = await_condition(self.api::<K>(), name, move |object: Option<&K>| object.is_none_or(is_so)).await;
        met.with_context(|| format!("wait for {} {name}", K::kind(&())))
    }
}

/// An object as our type.
pub(crate) fn typed<K: Kind>(object: DynamicObject) -> Result<K> {
    let name = object.name_any();
    let said = object.try_parse();
    said.with_context(|| format!("{} {name} is not what its kind says; -o yaml prints it as it is", K::kind(&())))
}

/// What the API server refused, in its own words, and what to type next.
pub(crate) fn refusal<K: Kind>(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!(sentence::<K>(&status)),
        other => anyhow::Error::from(other).context(format!("ask the API server for {}", K::plural(&()))),
    }
}

fn sentence<K: Kind>(status: &Status) -> String {
    let (message, noun, program) = (&status.message, noun::<K>(), program());
    match status.code {
        // A kind that is not served is told in plain text, without a name.
        404 if !message.contains(" not found") || message.contains("page not found") => {
            format!("the cluster does not serve {}: {program} install --crds-only defines it", K::plural(&()))
        }
        404 => format!("{message}; {program} {noun} get lists what is there"),
        409 if status.reason == "AlreadyExists" => format!("{message}; {program} {noun} get NAME shows it"),
        403 => format!("{message}; kubectl auth can-i --list -n NAMESPACE tells what you may do"),
        _ => message.clone(),
    }
}

/// The word of a kind on the command line.
pub(crate) fn noun<K: Kind>() -> String {
    match &*K::kind(&()) {
        "BackupStorageLocation" => "backup-location".to_owned(),
        "BackupRepository" => "repo".to_owned(),
        kind => kind.to_lowercase(),
    }
}
