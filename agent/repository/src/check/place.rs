//! The objects of the repository itself: `repo.json`, keys, texts, condemned sets.

use super::{
    Run,
    access::not_opened,
    contents, data,
    listing::{Absent, body},
};
use crate::{
    config::RepoConfig,
    error::Result,
    keys::Keys,
    layout,
    pack_set::PackSet,
    seal::{self, Opened, is_age},
    store::{Key, OBJECT_BYTES_MAX},
    table::PackKind,
};

/// Longest `repo.json` that is read, in bytes: thousands of recipients.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Checks what belongs to no snapshot.
pub(super) async fn check(run: &mut Run<'_>) -> Result<()> {
    configs(run).await?;
    keys(run).await?;
    for (key, text) in [(layout::format_text(), crate::FORMAT_TEXT), (layout::rescue_script(), crate::RESCUE_SCRIPT)] {
        match body(run.store(), &key).await? {
            Err(absent) => run.findings.notice(key, format!("{absent}; no restore with trysail needs it")),
            Ok(object) if object != text.as_bytes() => {
                run.findings.notice(key, "it is not this program's text: another version's, or damaged");
            }
            Ok(_) => {}
        }
    }
    condemned(run).await
}

async fn configs(run: &mut Run<'_>) -> Result<()> {
    let states = run.listing.configs.clone();
    let Some((newest, _)) = states.last().copied() else {
        run.findings.damage(layout::repo_json(0), "it is missing: without it there is no repository", Vec::new());
        return Ok(());
    };
    for (n, size) in states {
        let key = layout::repo_json(n);
        let wrong = if size > CONFIG_BYTES_MAX {
            Some(format!("it is {size} bytes long, which no repo.json is"))
        } else {
            match body(run.store(), &key).await?.map(|object| RepoConfig::parse(&object)) {
                Err(absent) => Some(absent.to_string()),
                Ok(Err(error)) => Some(error.to_string()),
                Ok(Ok(config)) if config.root != run.repository.config().root => {
                    Some("it is signed by another root key".to_owned())
                }
                Ok(Ok(_)) => None,
            }
        };
        match wrong {
            Some(what) if n == newest => run.findings.damage(key, what, Vec::new()),
            Some(what) => run.findings.notice(key, what),
            None => {}
        }
    }
    Ok(())
}

async fn keys(run: &mut Run<'_>) -> Result<()> {
    let config = run.repository.config();
    let key = layout::wrapped_keys(config.keys);
    let encrypted = !config.recipients.is_empty();
    let wrong = match body(run.store(), &key).await? {
        Err(absent) => Some(format!("{absent}: without it no other installation can write to this repository")),
        Ok(object) if encrypted && !is_age(&object) => Some("it is not encrypted as it has to be".to_owned()),
        Ok(_) if encrypted && run.options.identity.is_empty() => None,
        Ok(object) => match seal::decrypt(&object, &run.options.identity) {
            Ok(json) => wrong_keys(&json, config),
            Err(seal::Error::NoMatch) => {
                recognised(run, &key).await?;
                Some("its header is damaged: the identity opens other objects".to_owned())
            }
            Err(error) => Some(error.to_string()),
        },
    };
    if let Some(what) = wrong {
        run.findings.damage(key, what, Vec::new());
    }
    Ok(())
}

/// What is wrong with opened keys.
fn wrong_keys(json: &[u8], config: &RepoConfig) -> Option<String> {
    let keys = match Keys::from_json(json) {
        Ok(keys) => keys,
        Err(error) => return Some(error.to_string()),
    };
    let ours = keys.root().public() == config.root && config.signers.contains(&keys.signer().public());
    // Keys have one spelling: another one was not written by this format's programs.
    if ours && keys.epoch() == config.epoch && *keys.to_json() == json {
        None
    } else {
        Some("it holds other keys than repo.json names".to_owned())
    }
}

/// Whether the identity is a recipient's, by a meta pack that is whole.
async fn recognised(run: &Run<'_>, keys: &Key) -> Result<()> {
    let whole = run.catalog.rows.iter().filter(|(pack, _)| pack.kind == PackKind::Meta);
    for (pack, row) in whole {
        let Some(object) = data::fetch(run, *pack).await? else { continue };
        if contents::is_as_written(&object, row) {
            return match Opened::new(&object, &run.options.identity) {
                Err(seal::Error::NoMatch) => Err(not_opened(run.repository, run.options, keys)),
                _ => Ok(()),
            };
        }
    }
    Err(not_opened(run.repository, run.options, keys))
}

/// A session that cannot read what was condemned refuses to begin.
async fn condemned(run: &mut Run<'_>) -> Result<()> {
    for (key, size) in std::mem::take(&mut run.listing.condemned) {
        let wrong = if size > OBJECT_BYTES_MAX {
            Some(format!("it is {size} bytes long"))
        } else {
            match body(run.store(), &key).await?.map(|object| PackSet::decode(&object)) {
                Ok(Ok(_)) | Err(Absent::Missing) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(absent) => Some(absent.to_string()),
            }
        };
        if let Some(what) = wrong {
            run.findings.damage(key, format!("{what}; no backup can begin while it is there"), Vec::new());
        }
    }
    Ok(())
}
