//! The definitions of kinds, put into a cluster: what the hook of Velero's chart does before each upgrade. What they say is
//! the `api` crate's work.

use std::{path::Path, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::wait::{await_condition, conditions},
};
use tokio::time::timeout;

use crate::{Error, Result, server};

/// Who owns the fields that are applied. Source: `velero install --apply`, so that both own the same ones.
const FIELD_MANAGER: &str = "velero-cli";

/// Time until the API server serves a new kind.
const ESTABLISHED_MAX: Duration = Duration::from_mins(1);

/// Applies definitions and waits until the API server serves them. Fields that others own and that differ are taken over.
///
/// # Errors
/// Where no API server is named or it refuses, and where a kind is not served within a minute.
pub async fn apply(
    definitions: &[CustomResourceDefinition],
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(server::client(kubeconfig, context).await?);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    for definition in definitions {
        let name = definition.name_any();
        let applied = api.patch(&name, &parameters, &Patch::Apply(definition)).await;
        applied.map_err(Error::kubernetes(format!("apply CustomResourceDefinition {name}")))?;
    }
    for definition in definitions {
        let name = definition.name_any();
        let served = await_condition(api.clone(), &name, conditions::is_crd_established());
        match timeout(ESTABLISHED_MAX, served).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Error::Unserved { kind: name, reason: error.to_string() }),
            Err(_) => return Err(Error::Unserved { kind: name, reason: "the time is over".to_owned() }),
        }
    }
    Ok(())
}
