//! Reads packs: the part that was asked for, and those known to be damaged, to learn what is left of them.
//!
//! Memory: two packs at once, stored and plain: 70 MB where packs are of 16 MiB.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{
    Run,
    access::not_opened,
    catalog::load,
    contents::{self, Verdict, Witness},
    findings::{Broken, Harm},
    listing::{Absent, Lengths, body},
    report::Stage,
};
use crate::{
    error::{Error, Result},
    layout,
    pack::DEFAULT_PACK_BYTES,
    store::OBJECT_BYTES_MAX,
    table::{PackKind, PackRef},
};

/// Packs read at once: one is fetched while one is hashed.
const PACKS_IN_FLIGHT: usize = 2;

/// Readings that are prepared at once: some hundred bytes each, while a table may name a hundred thousand packs.
const TASKS_MAX: usize = 1000;

/// Reads the packs that are to be read.
pub(super) async fn check(run: &mut Run<'_>) -> Result<()> {
    let of = run.needed.iter().filter(|(pack, _)| is_due(run, *pack)).count();
    let mut seen = Lengths::default();
    let mut done = 0;
    for table in std::mem::take(&mut run.catalog.tables) {
        if of == 0 {
            break;
        }
        // A table that was whole a moment ago and is gone now has been swept, with its packs.
        let Ok(rows) = load(run, table).await? else { continue };
        let mut due = Vec::new();
        for (pack, row) in rows.0 {
            if is_due(run, pack) && seen.get(pack).is_none() {
                seen.set(pack, 0);
                due.push((pack, if table.named.is_some() { Witness::Signed(row) } else { Witness::Unsigned(row) }));
            }
        }
        read(run, due, &mut done, of).await?;
    }
    let unlisted: Vec<_> =
        run.catalog.unlisted.iter().map(|(pack, _)| pack).filter(|pack| is_due(run, *pack)).collect();
    read(run, unlisted.into_iter().map(|pack| (pack, Witness::None)).collect(), &mut done, of).await
}

/// Whether a pack is stored, needed, and in the part or damaged.
fn is_due(run: &Run<'_>, pack: PackRef) -> bool {
    let chosen = run.options.read_data.is_some_and(|part| part.contains(pack));
    let damaged = run.findings.broken.get(&pack).is_some_and(|broken| broken.harm == Harm::Unseen);
    (chosen || damaged) && run.needed.contains(pack) && run.listing.packs.get(pack).is_some()
}

async fn read(run: &mut Run<'_>, due: Vec<(PackRef, Witness)>, done: &mut usize, of: usize) -> Result<()> {
    let at_once = if run.repository.config().pack > DEFAULT_PACK_BYTES { 1 } else { PACKS_IN_FLIGHT };
    for some in due.chunks(TASKS_MAX) {
        let tasks: Vec<_> = some.iter().map(|(pack, witness)| task(run, *pack, *witness)).collect();
        let mut verdicts = stream::iter(tasks).buffered(at_once);
        while let Some((pack, verdict)) = verdicts.try_next().await? {
            run.packs_read += 1;
            run.bytes_read += run.listing.packs.get(pack).map_or(0, u64::from);
            take(run, pack, verdict)?;
            *done += 1;
            run.tell(Stage::Data, *done, of);
        }
    }
    Ok(())
}

/// The judging of one pack; borrows nothing that its verdict changes.
fn task(
    run: &Run<'_>,
    pack: PackRef,
    witness: Witness,
) -> impl Future<Output = Result<(PackRef, Verdict)>> + Send + use<> {
    let (repository, identity) = (run.repository.clone(), run.access.identity.clone());
    let listed = run.listing.packs.get(pack);
    async move { Ok((pack, judge(&repository, pack, listed, witness, identity).await?)) }
}

/// Enters a verdict.
///
/// # Errors
/// [`Error::NoIdentity`] where a pack that is whole should open and does not.
pub(super) fn take(run: &mut Run<'_>, pack: PackRef, verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Unopened if run.access.reaches(pack) => {
            Err(not_opened(run.repository, run.options, &layout::pack(pack)))
        }
        Verdict::Sound | Verdict::Unopened => Ok(()),
        Verdict::Broken(broken) => {
            run.findings.broken(pack, broken);
            Ok(())
        }
        Verdict::RowWrong => {
            run.findings.broken.remove(&pack);
            let what = format!("its row of {} is not that of the pack, which is whole", layout::pack(pack));
            run.tables.entry(pack.session).or_insert_with(|| Broken::new(what, Harm::Ranges(Vec::new())));
            Ok(())
        }
    }
}

/// Fetches and judges one pack.
pub(super) async fn inspect(run: &Run<'_>, pack: PackRef, witness: Witness) -> Result<Verdict> {
    let listed = run.listing.packs.get(pack);
    judge(run.repository, pack, listed, witness, run.access.identity.clone()).await
}

async fn judge(
    repository: &crate::Repository,
    pack: PackRef,
    listed: Option<u32>,
    witness: Witness,
    identity: crate::seal::Identity,
) -> Result<Verdict> {
    if let Some(size) = listed.filter(|size| u64::from(*size) > OBJECT_BYTES_MAX) {
        return Ok(Verdict::Broken(Broken::new(format!("it is {size} bytes long, which no pack is"), Harm::All)));
    }
    let object = match body(&**repository.store(), &layout::pack(pack)).await? {
        Ok(object) => object,
        Err(absent) => {
            let harm = if absent == Absent::Missing { Harm::Missing } else { Harm::All };
            return Ok(Verdict::Broken(Broken::new(absent.to_string(), harm)));
        }
    };
    let judged = tokio::task::spawn_blocking(move || contents::judge(&object, witness, &identity)).await;
    let judged = judged.map_err(|_| Error::Bug("judging a pack panicked"))??;
    Ok(match judged {
        // Readers open an encrypted meta pack as a whole, or not at all.
        Verdict::Broken(broken) if pack.kind == PackKind::Meta && !repository.config().recipients.is_empty() => {
            Verdict::Broken(Broken::new(broken.what, Harm::All))
        }
        verdict => verdict,
    })
}

/// A pack that is listed and not too long to be fetched.
pub(super) async fn fetch(run: &Run<'_>, pack: PackRef) -> Result<Option<bytes::Bytes>> {
    match run.listing.packs.get(pack) {
        Some(size) if u64::from(size) <= OBJECT_BYTES_MAX => Ok(body(run.store(), &layout::pack(pack)).await?.ok()),
        _ => Ok(None),
    }
}
