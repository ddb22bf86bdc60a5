//! Definitions of the kinds that Trysail serves, for `kubectl apply -f -` and for charts. No cluster is asked.

use anyhow::Result;
use trysail_api::crds;

use crate::{
    Outcome,
    args::{Format, Shared},
    output,
};

/// `trysail crds`: all kinds, as YAML documents or one JSON list.
pub(crate) fn crds(shared: &Shared) -> Result<Outcome> {
    let crds = crds::all()?;
    match shared.output {
        Format::Json => output::value(Format::Json, &crds::list(&crds)?)?,
        Format::Table | Format::Yaml => output::documents(&crds)?,
    }
    Ok(Outcome::Done)
}

/// `trysail install --crds-only --dry-run`: Velero's kinds as one list, as the chart's hook reads it.
pub(crate) fn install(shared: &Shared) -> Result<Outcome> {
    let list = crds::list(&crds::velero()?)?;
    let format = if shared.output == Format::Json { Format::Json } else { Format::Yaml };
    output::value(format, &list)?;
    Ok(Outcome::Done)
}
