//! A stored object becomes one that can be made: everything that the old cluster gave it goes, and what the Restore says is
//! done. Pure. Each kind with rules of its own has a file.

mod claim;
pub(super) mod metadata;
mod pod;
mod rights;
mod service;
mod small;

use std::collections::BTreeMap;

use serde_json::Value;
use trysail_api::{
    hook::RestoreHookSet,
    names::{label, label_value},
};

use super::{
    edit,
    hooks::ExecHook,
    mapping::Mappings,
    modify::Modify,
    plan::{Plan, Step},
    rules::Rules,
    wait::RestoreWait,
};
use crate::{kind::Item, select::resource};

/// What is the same for all objects of a Restore.
#[derive(Debug)]
pub struct Preparation<'a> {
    /// What the spec says.
    pub rules: &'a Rules,
    /// What becomes of volumes.
    pub plan: &'a Plan,
    /// Names that are others here.
    pub mappings: &'a Mappings,
    /// Patches.
    pub modify: &'a Modify,
    /// Hooks of the spec, with full names of kinds.
    pub hooks: &'a [RestoreHookSet],
    /// The container that waits for volumes.
    pub wait: &'a RestoreWait,
    /// By namespace and name of a pod in the archive, the volumes that get their files back.
    pub volumes: &'a BTreeMap<(String, String), Vec<String>>,
    /// Name of the Backup.
    pub backup: &'a str,
    /// Name of the Restore.
    pub restore: &'a str,
    /// UID of the Restore.
    pub restore_uid: &'a str,
}

/// An object that can be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The object, in its new namespace.
    pub item: Item,
    /// The status that it gets afterwards.
    pub status: Option<Value>,
    /// Who set which field; written afterwards, since who makes an object becomes the owner of all its fields.
    pub managed_fields: Option<Value>,
    /// Commands to run in it once it runs.
    pub hooks: Vec<ExecHook>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What could not be done, while the object is made all the same.
    pub errors: Vec<String>,
}

/// What becomes of a stored object.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is made.
    Make(Box<Prepared>),
    /// It is left out; a clause says why.
    Leave(&'static str),
}

impl Preparation<'_> {
    /// Makes a stored object ready.
    pub fn prepare(&self, step: &Step, stored: Item) -> Outcome {
        let status = stored.object["status"].clone();
        let status = Some(status).filter(|status| !status.is_null() && self.rules.takes_status(&stored));
        let mut prepared = Prepared {
            status,
            managed_fields: metadata::managed_fields(&stored.object),
            item: stored,
            hooks: Vec::new(),
            warnings: Vec::new(),
            errors: Vec::new(),
        };
        let original = if self.modify.is_empty() { Value::Null } else { prepared.item.object.clone() };
        if let Some(why) = self.act(&mut prepared) {
            return Outcome::Leave(why);
        }
        metadata::reset(&mut prepared.item.object);
        let changed = self.modify.apply(&step.item, &original, &mut prepared.item.object);
        prepared.errors.extend(changed.err().into_iter().flatten());
        if let Some(target) = &step.target {
            edit::set(&mut prepared.item.object, "/metadata", "namespace", Value::String(target.clone()));
        }
        self.mark(&mut prepared.item.object);
        Outcome::Make(Box::new(prepared))
    }

    /// What is done to objects of single kinds; why one is left out.
    fn act(&self, prepared: &mut Prepared) -> Option<&'static str> {
        let resource = prepared.item.kind.resource();
        let object = &mut prepared.item.object;
        match resource.as_str() {
            resource::PODS => self.pod(prepared),
            resource::CLAIMS => self.claim(object),
            resource::VOLUMES => self.volume(object),
            "services" => service::reset(object, self.rules.keeps_node_ports),
            "jobs.batch" => small::job(object),
            "secrets" => return small::secret(object),
            resource::SERVICE_ACCOUNTS => small::account(object),
            resource::DEFINITIONS => small::definition(object),
            "apiservices.apiregistration.k8s.io" => return small::api_service(object),
            "rolebindings.rbac.authorization.k8s.io" | resource::CLUSTER_ROLE_BINDINGS => {
                rights::move_subjects(object, self.rules);
            }
            "mutatingwebhookconfigurations.admissionregistration.k8s.io"
            | "validatingwebhookconfigurations.admissionregistration.k8s.io" => rights::webhooks(object),
            "statefulsets.apps" => self.claim_templates(object),
            _ => {}
        }
        if let Some(spec) = small::pod_template(&resource, &mut prepared.item.object) {
            prepared.errors.extend(self.mappings.map_images(spec).err());
        }
        None
    }

    /// Labels by which restored objects are found. Source: Velero `pkg/restore/restore.go`, `addRestoreLabels`.
    fn mark(&self, object: &mut Value) {
        if let Some(labels) = edit::map(object, "/metadata", "labels") {
            labels.insert(label::BACKUP_NAME.to_owned(), Value::String(label_value(self.backup)));
            labels.insert(label::RESTORE_NAME.to_owned(), Value::String(label_value(self.restore)));
        }
    }
}

#[cfg(test)]
mod tests;
