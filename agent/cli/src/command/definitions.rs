//! Definitions of the kinds that Trysail serves, for `kubectl apply -f -` for charts, and into a cluster.

use anyhow::Result;
use trysail_api::crds;
use trysail_controller::install;

use crate::{
    Outcome,
    args::{Format, Install, Shared},
    output,
};

/// `trysail crds`: all kinds, as YAML documents or one JSON list.
pub(crate) fn crds(shared: &Shared) -> Result<Outcome> {
    let crds = crds::all()?;
    match shared.format() {
        Format::Json => output::value(Format::Json, &crds::list(&crds)?)?,
        Format::Table | Format::Yaml => output::documents(&crds)?,
    }
    Ok(Outcome::Done)
}

/// `trysail install --crds-only`: Velero's kinds, into the cluster, or printed as one list, as hooks of older charts read it.
pub(crate) async fn install(shared: &Shared, install: &Install) -> Result<Outcome> {
    let definitions = crds::velero()?;
    if install.dry_run {
        let format = if shared.format() == Format::Json { Format::Json } else { Format::Yaml };
        output::value(format, &crds::list(&definitions)?)?;
        return Ok(Outcome::Done);
    }
    install::apply(&definitions, install.kubeconfig.as_deref(), install.kubecontext.as_deref()).await?;
    for definition in &definitions {
        output::line(&format!(
            "CustomResourceDefinition/{}: served",
            definition.metadata.name.as_deref().unwrap_or_default()
        ))?;
    }
    Ok(Outcome::Done)
}
