//! A kind of Kubernetes objects, one object of it, and the name by which an object is known.
//!
//! Objects are kept as the JSON that the API server sent: fields that nobody here knows are kept too.

use std::{fmt, sync::Arc};

use kube::core::ApiResource;
use serde_json::Value;
use trysail_api::selector::Labels;

/// A kind of objects that can be listed, in the version in which it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Its group; empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The kind as objects say it, such as `Deployment`.
    pub kind: String,
    /// Its name in URLs, in lower case and plural, such as `deployments`.
    pub plural: String,
    /// Whether its objects lie in namespaces.
    pub is_namespaced: bool,
    /// What users may call it besides: singular and short names.
    pub aliases: Vec<String>,
}

impl Kind {
    /// `pods`, `deployments.apps`: by this name lists of kinds and paths in an archive know it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `v1/Pod`, `apps/v1/Deployment`: the key of a list of stored objects.
    pub fn versioned_name(&self) -> String {
        format!("{}/{}", self.api_version(), self.kind)
    }

    /// The same for the Kubernetes client.
    pub(crate) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// The name of an object among all of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName {
    /// Its kind, as [`Kind::resource`] says it.
    pub resource: String,
    /// Its namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ItemName {
    /// The name of an object in a namespace.
    pub fn namespaced(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.to_owned(), namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }

    /// The name of a cluster-scoped object.
    pub fn cluster_scoped(resource: &str, name: &str) -> Self {
        Self { resource: resource.to_owned(), namespace: None, name: name.to_owned() }
    }

    /// `namespace/name`, or `name`: the form of lists of stored objects.
    pub fn within_kind(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.within_kind())
    }
}

/// One object of a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its kind.
    pub kind: Arc<Kind>,
    /// All of it.
    pub object: Value,
}

impl Item {
    /// An object as a list or a get returned it. Objects in lists of built-in kinds do not say what they are; it is added.
    pub fn new(kind: Arc<Kind>, mut object: Value) -> Self {
        if let Value::Object(fields) = &mut object {
            fields.entry("apiVersion").or_insert_with(|| kind.api_version().into());
            fields.entry("kind").or_insert_with(|| kind.kind.clone().into());
        }
        Self { kind, object }
    }

    /// Its name; empty where it has none, which no API server does.
    pub fn name(&self) -> &str {
        text(&self.object["metadata"]["name"])
    }

    /// Its namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty())
    }

    /// Its labels.
    pub fn labels(&self) -> Labels {
        strings(&self.object["metadata"]["labels"])
    }

    /// Its name among all objects.
    pub fn full_name(&self) -> ItemName {
        ItemName {
            resource: self.kind.resource(),
            namespace: self.namespace().map(str::to_owned),
            name: self.name().to_owned(),
        }
    }
}

/// A string, or the empty one where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A map of strings; values that are none are left out.
pub(crate) fn strings(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The elements of a list; none where there is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A kind from `pods v1 Pod`, `deployments apps/v1 Deployment`, with a `*` before those that are not in namespaces.
    pub(crate) fn kind(text: &str) -> Arc<Kind> {
        let (is_namespaced, text) = text.strip_prefix('*').map_or((true, text), |rest| (false, rest));
        let words: Vec<&str> = text.split(' ').collect();
        let (group, version) = words[1].split_once('/').unwrap_or(("", words[1]));
        Arc::new(Kind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: words[2].to_owned(),
            plural: words[0].to_owned(),
            is_namespaced,
            aliases: vec![words[2].to_lowercase()],
        })
    }

    #[test]
    fn a_kind_is_written_as_lists_paths_and_urls_need_it() {
        let names = |kind: &Kind| [kind.resource(), kind.api_version(), kind.versioned_name()];
        assert_eq!(names(&kind("pods v1 Pod")), ["pods", "v1", "v1/Pod"]);
        let expected = ["deployments.apps", "apps/v1", "apps/v1/Deployment"];
        assert_eq!(names(&kind("deployments apps/v1 Deployment")), expected);
    }

    #[test]
    fn an_object_of_a_list_says_what_it_is_and_keeps_what_it_said() {
        let of_list = Item::new(kind("pods v1 Pod"), json!({"metadata": {"name": "a", "namespace": "n"}}));
        assert_eq!(of_list.object["apiVersion"], "v1");
        assert_eq!(of_list.object["kind"], "Pod");
        let other = Item::new(kind("pods v1 Pod"), json!({"apiVersion": "v2", "kind": "Pod", "metadata": {}}));
        assert_eq!(other.object["apiVersion"], "v2");
    }
}
