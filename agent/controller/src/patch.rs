//! Writing parts of objects. Velero's kinds have no status subresource: a status is a field like any other.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

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

/// Merges fields into an object that may not be what its kind says; the object as it is then, or none where it is gone.
pub(crate) async fn merge_untyped<K>(context: &Context, name: &str, fields: &Value) -> Result<Option<DynamicObject>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &context.settings.namespace, &kind);
    match api.patch(name, &PatchParams::default(), &Patch::Merge(fields)).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) => Err(Error::kubernetes(format!("patch {} {name}", K::kind(&())))(error)),
    }
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

/// Pauses between tries of what must be written.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Merges fields into an object until that is done, or the object is gone: what is so must not stay unsaid.
pub(crate) async fn persist<K>(context: &Context, name: &str, fields: &Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut pause = FIRST_PAUSE;
    while let Err(error) = merge::<K>(context, name, fields).await {
        tracing::warn!(name, %error, "What must be written cannot be");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
