//! Writing parts of objects. Velero's kinds have no status subresource: a status is a field like any other.

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Error, Result,
    context::Context,
    error::{code, unless},
};

/// Merges fields into an object (`null` removes one). An object that is gone needs none.
pub(crate) async fn merge<K>(context: &Context, name: &str, fields: &Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let done = context.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(fields)).await;
    unless(&[404], done).map_err(Error::kubernetes(format!("patch {} {name}", K::kind(&()))))
}

/// The same, where the fields name the `resourceVersion` that they were decided on. False where the object has changed since, or is
/// gone.
pub(crate) async fn merge_if_unchanged<K>(context: &Context, name: &str, fields: &Value) -> Result<bool>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match context.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(fields)).await {
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(false),
        other => other.map(|_| true).map_err(Error::kubernetes(format!("patch {} {name}", K::kind(&())))),
    }
}
