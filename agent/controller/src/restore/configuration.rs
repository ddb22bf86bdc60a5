//! What `ConfigMaps` and the server's own pod say of Restores: names that are others here, patches, the container that waits.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, PodSpec},
    storage::v1::StorageClass,
};
use kube::{Api, ResourceExt as _};
use trysail_api::{modifier::Modifiers, names::label, reference::LocalReference};
use trysail_cluster::restore::{mapping::Mappings, wait::RestoreWait};

use crate::{Error, Result, context::Context};

/// What a label of a `ConfigMap` says that Restores are to read it.
const FOR_RESTORES: &str = "RestoreItemAction";

/// The label of `ConfigMaps` that map nodes. Source: Velero 1.13 `change_pvc_node_selector.go`.
const CHANGE_NODE: &str = "velero.io/change-pvc-node-selector";

/// The server's Deployment, if its pod is not found by name.
const SERVER: &str = "velero";

/// The patches of a Restore, or what is wrong with their `ConfigMap`.
pub(super) async fn modifiers(
    context: &Context,
    reference: Option<&LocalReference>,
) -> Result<std::result::Result<Option<Modifiers>, String>> {
    let Some(reference) = reference else { return Ok(Ok(None)) };
    let namespace = &context.settings.namespace;
    let problem =
        |why: String| format!("failed to get resource modifiers configmap {namespace}/{}: {why}", reference.name);
    let Some(found) = context.get::<ConfigMap>(&reference.name).await? else {
        return Ok(Err(problem("it is not there".to_owned())));
    };
    let read = Modifiers::of_config_map(namespace, &reference.name, &found.data.unwrap_or_default());
    Ok(read.map(Some).map_err(|error| problem(error.to_string())))
}

/// Names that are others here, and what cannot be mapped.
pub(super) async fn mappings(context: &Context) -> Result<(Mappings, Vec<String>)> {
    let mut problems = Vec::new();
    let classes = data(context, label::CHANGE_STORAGE_CLASS).await?;
    let known = Api::<StorageClass>::all(context.client.clone());
    for class in classes.values() {
        let found = known.get_opt(class).await.map_err(Error::kubernetes(format!("get storage class {class}")))?;
        if found.is_none() {
            problems.push(format!("storage class {class}, to which classes are mapped, is not there"));
        }
    }
    let nodes = data(context, CHANGE_NODE).await?;
    let images = data(context, label::CHANGE_IMAGE_NAME).await?;
    Ok((Mappings { classes, nodes, images }, problems))
}

/// The container that waits for volumes: the server's own image, and what a `ConfigMap` says otherwise.
pub(super) async fn wait(context: &Context) -> Result<std::result::Result<RestoreWait, String>> {
    let image = image(context).await?.unwrap_or_default();
    let data = data(context, label::POD_VOLUME_RESTORE).await?;
    Ok(RestoreWait::new(&image).configured(&data))
}

/// The image that this server runs in, if it runs in one.
async fn image(context: &Context) -> Result<Option<String>> {
    let spec = own_pod(context).await?;
    Ok(spec.and_then(|spec| spec.containers.into_iter().next()).and_then(|container| container.image))
}

/// What this server's pod is, if it runs in one; the server's container is its first.
pub(crate) async fn own_pod(context: &Context) -> Result<Option<PodSpec>> {
    // The identity is the pod's name and the process' number.
    let pod = context.settings.identity.rsplit_once('_').map_or("", |(pod, _)| pod);
    if let Some(pod) = context.get::<Pod>(pod).await? {
        return Ok(pod.spec);
    }
    let server = context.get::<Deployment>(SERVER).await?;
    Ok(server.and_then(|server| server.spec).and_then(|spec| spec.template.spec))
}

/// The pairs of the first `ConfigMap` with a label, by name.
async fn data(context: &Context, label: &str) -> Result<BTreeMap<String, String>> {
    let labels = format!("{}=,{label}={FOR_RESTORES}", label::PLUGIN_CONFIG);
    let mut found: Vec<ConfigMap> = context.list(&labels).await?;
    found.sort_by_key(kube::ResourceExt::name_any);
    if let [first, _, ..] = &found[..] {
        tracing::warn!(label, taken = first.name_any(), "Several ConfigMaps have one label");
    }
    Ok(found.into_iter().next().and_then(|map| map.data).unwrap_or_default())
}
