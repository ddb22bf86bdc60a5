//! `trysail backup-location` and `trysail repo get`: where backups of a cluster lie.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use kube::ResourceExt as _;
use serde_json::json;
use trysail_api::{
    backup::Backup,
    backup_repository::BackupRepository,
    backup_storage_location::BackupStorageLocation,
    names::{label, label_value},
};

use super::cluster::{self, Chosen, Sheet, confirm};
use crate::{
    Outcome,
    args::{
        cluster::{Deleting, Listing},
        location::{self as args, LocationCreate, LocationSet},
    },
    cluster::Cluster,
    draft::location as draft,
    output,
    show::{location, repository},
};

/// Runs the command that was typed.
pub(super) async fn run(command: args::Location) -> Result<Outcome> {
    match command {
        args::Location::Get(listing) => {
            let sheet = Sheet { columns: &location::COLUMNS, row: location::row, order: str::cmp };
            cluster::get(&listing, &sheet).await
        }
        args::Location::Create(create) => self::create(&create).await,
        args::Location::Set(set) => self::set(&set).await,
        args::Location::Delete(deleting) => delete(&deleting).await,
    }
}

/// Lists the repositories of a cluster.
pub(super) async fn repositories(listing: &Listing) -> Result<Outcome> {
    let sheet: Sheet<BackupRepository> = Sheet { columns: &repository::COLUMNS, row: repository::row, order: str::cmp };
    cluster::get(listing, &sheet).await
}

async fn create(create: &LocationCreate) -> Result<Outcome> {
    let certificates = create.cacert.as_deref().map(read).transpose()?;
    let location = draft::location(create, certificates.as_deref());
    if let Some(form) = create.draft.form() {
        return cluster::print(form, &location);
    }
    let cluster = Cluster::connect(&create.connection).await?;
    if create.default {
        refuse_second_default(&cluster, &create.name).await?;
    }
    let name = cluster.create(&location).await?.name_any();
    output::line(&format!("Backup storage location \"{name}\" configured successfully."))?;
    Ok(Outcome::Done)
}

/// Names the location that is the default already, if another one is.
async fn refuse_second_default(cluster: &Cluster, name: &str) -> Result<()> {
    let all = cluster.list::<BackupStorageLocation>(None).await?;
    let other = all.iter().find(|other| other.spec.default == Some(true) && other.name_any() != name);
    if let Some(other) = other.map(kube::ResourceExt::name_any) {
        bail!(
            "{other} is the default backup storage location; {} backup-location set {other} --default=false unsets it",
            crate::program()
        );
    }
    Ok(())
}

async fn set(set: &LocationSet) -> Result<Outcome> {
    let name = &set.name;
    let certificates = set.cacert.as_deref().map(read).transpose()?;
    let cluster = Cluster::connect(&set.connection).await?;
    let location = cluster.get::<BackupStorageLocation>(name).await?;
    let mut spec = json!({});
    if let Some(is_default) = set.default {
        if is_default {
            refuse_second_default(&cluster, name).await?;
            if location.spec.default == Some(true) {
                output::line(&format!(
                    "Backup storage location \"{name}\" is already the default backup storage location."
                ))?;
                return Ok(Outcome::Done);
            }
        }
        spec["default"] = json!(is_default);
    }
    if let Some(certificates) = certificates {
        spec["objectStorage"] = json!({ "caCert": draft::encoded(&certificates) });
    }
    if let Some(credential) = &set.credential {
        spec["credential"] = json!(draft::credential(credential));
    }
    ensure!(
        spec.as_object().is_some_and(|spec| !spec.is_empty()),
        "nothing to set: --default, --credential or --cacert"
    );
    cluster.merge::<BackupStorageLocation>(name, &json!({ "spec": spec })).await?;
    output::line(&format!("Backup storage location \"{name}\" configured successfully."))?;
    Ok(Outcome::Done)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

async fn delete(deleting: &Deleting) -> Result<Outcome> {
    if !confirm(deleting)? {
        return Ok(Outcome::Done);
    }
    let cluster = Cluster::connect(&deleting.selecting.connection).await?;
    let chosen = Chosen::<BackupStorageLocation>::of(&cluster, &deleting.selecting).await?;
    for location in &chosen.found {
        let name = location.name_any();
        cluster.delete::<BackupStorageLocation>(&name).await?;
        output::line(&format!("Backup storage location \"{name}\" deleted successfully."))?;
        let labels = format!("{}={}", label::STORAGE_LOCATION, label_value(&name));
        for backup in cluster.list::<Backup>(Some(&labels)).await? {
            let backup = backup.name_any();
            cluster.delete::<Backup>(&backup).await?;
            output::line(&format!("Backup associated with deleted BSL(s) \"{backup}\" deleted successfully."))?;
        }
        for repository in cluster.list::<BackupRepository>(Some(&labels)).await? {
            let repository = repository.name_any();
            cluster.delete::<BackupRepository>(&repository).await?;
            output::line(&format!(
                "Backup repository associated with deleted BSL(s) \"{repository}\" deleted successfully."
            ))?;
        }
    }
    Ok(chosen.outcome())
}
