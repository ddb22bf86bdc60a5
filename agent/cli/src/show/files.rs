//! Stored files of backups and restores that descriptions tell of: results, lists of objects, what was done with volumes.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use super::{NONE, page::Page};

/// Why a file is not there to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The store does not have it.
    NotFound,
    /// It could not be fetched or read, as a clause.
    Failed(String),
}

impl Missing {
    /// The same as an error about that file.
    pub(crate) fn of(self, what: &str) -> anyhow::Error {
        anyhow::anyhow!("{what}: {self}")
    }
}

/// A file, or why there is none.
pub(crate) type Fetched<T> = Result<T, Missing>;

/// `-results.gz`: what went wrong. Source: Velero `pkg/util/results/result.go`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Results {
    /// Errors.
    #[serde(default)]
    pub(crate) errors: Part,
    /// Warnings.
    #[serde(default)]
    pub(crate) warnings: Part,
}

/// Errors or warnings by what they are about.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Part {
    /// The backup or restore itself.
    #[serde(default)]
    pub(crate) velero: Vec<String>,
    /// Objects without a namespace.
    #[serde(default)]
    pub(crate) cluster: Vec<String>,
    /// Objects by namespace.
    #[serde(default)]
    pub(crate) namespaces: BTreeMap<String, Vec<String>>,
}

/// `-resource-list.json.gz`: objects by kind.
pub(crate) type ResourceList = BTreeMap<String, Vec<String>>;

/// An entry of `-volumeinfo.json.gz`, as far as it is told. Source: Velero `internal/volume/volumes_information.go`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VolumeInfo {
    /// Name of the claim.
    pub(crate) pvc_name: String,
    /// Namespace of the claim.
    pub(crate) pvc_namespace: String,
    /// Name of the volume.
    pub(crate) pv_name: String,
    /// `NativeSnapshot`, `CSISnapshot` or `PodVolumeBackup`.
    pub(crate) backup_method: String,
    /// The same of an entry of a restore.
    pub(crate) restore_method: String,
    /// Whether the data of the snapshot was moved to the location.
    pub(crate) snapshot_data_moved: bool,
    /// Whether the snapshot stays in the cluster.
    pub(crate) preserve_local_snapshot: bool,
}

impl VolumeInfo {
    /// Where the claim is, as `namespace/name`.
    pub(crate) fn claim(&self) -> String {
        format!("{}/{}", self.pvc_namespace, self.pvc_name)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the file is not there",
            Self::Failed(why) => why,
        })
    }
}

/// Tells warnings and errors, each where there are some.
pub(crate) fn describe_results(page: &mut Page, results: &Results, warnings: i32, errors: i32) {
    for (name, count, part) in [("Warnings", warnings, &results.warnings), ("Errors", errors, &results.errors)] {
        if count > 0 {
            page.blank();
            describe_part(page, name, part);
        }
    }
}

fn describe_part(page: &mut Page, name: &str, part: &Part) {
    page.line(format!("{name}:"));
    page.list("\t", "Velero", &part.velero);
    page.list("\t", "Cluster", &part.cluster);
    if part.namespaces.is_empty() {
        page.line(format!("\tNamespaces: {NONE}"));
        return;
    }
    page.line("\tNamespaces:");
    for (namespace, messages) in &part.namespaces {
        page.list("\t\t", namespace, messages);
    }
}

/// Tells all objects by kind; `of` is what has the list.
pub(crate) fn describe_resource_list(page: &mut Page, list: &Fetched<ResourceList>, of: &str) {
    match list {
        Ok(list) => {
            page.line("Resource List:");
            for (kind, objects) in list {
                page.line(format!("\t{kind}:"));
                for object in objects {
                    page.line(format!("\t\t- {object}"));
                }
            }
        }
        Err(Missing::NotFound) => page.line(format!("Resource List:\t<{of} resource list not found>")),
        Err(missing) => page.line(format!("Resource List:\t<error getting {of} resource list: {missing}>")),
    }
}
