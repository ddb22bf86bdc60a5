//! File tables: every row of every snapshot read, and all that the commit says of them computed again.

use super::{
    Run,
    contents::{Verdict, Witness},
    data::{self, inspect},
    findings::{Broken, Harm, blamed},
    report::{Level, LostPaths, Scope, Stage},
};
use crate::{
    commit::{Commit, Entries, Sha256Hex},
    error::{Error, Result},
    layout::{self, Beside, SnapshotId},
    pack_set::PackSet,
    read::{meta::MetaReader, packs, rows},
    table::{Extent, MetaRef, PackKind, PackRef, Row, merkle::Merkle, order},
};

/// Plain bytes of meta packs that are held: snapshots of a volume share most of them, and each should be fetched once.
const HELD_BYTES_MAX: usize = 48 << 20;

/// Length of the two zero blocks that end a tar stream.
const TAR_END: u64 = 1024;

/// Checks the file tables of all snapshots, where a key opens them.
pub(super) async fn check(run: &mut Run<'_>) -> Result<()> {
    if run.access.level < Level::Tables {
        return Ok(());
    }
    let mut reader = MetaReader::new(run.repository.clone(), run.access.identity.clone())?.holding(HELD_BYTES_MAX);
    let of = run.snapshots.len();
    for at in 0..of {
        let Some(id) = run.snapshots.get(at).map(|s| s.link.id.clone()) else { break };
        match run.repository.commit(&id).await {
            Ok((commit, _)) => table(run, &mut reader, &commit).await?,
            // It was forgotten meanwhile.
            Err(Error::NoSnapshot(_)) => {}
            Err(error) => blame(run, error, &id).await?,
        }
        run.tell(Stage::Tables, at + 1, of);
    }
    Ok(())
}

async fn table(run: &mut Run<'_>, reader: &mut MetaReader, commit: &Commit) -> Result<()> {
    let id = commit.id();
    let blocks = match rows::blocks(reader, commit).await {
        Ok(blocks) => blocks,
        Err(error) => return blame(run, error, &id).await,
    };
    let mut tally = Tally::default();
    for root in &commit.table.root {
        tally.frame(&MetaRef::from(*root));
    }
    for block in &blocks {
        tally.frame(&block.frame);
        match rows::block(reader, block).await {
            Ok(rows) => {
                for stored in rows {
                    let extents = match lists(reader, &stored.lists, &stored.row.member).await {
                        Ok(extents) => extents,
                        Err(error) => {
                            tally.incomplete();
                            blame(run, error, &id).await?;
                            Vec::new()
                        }
                    };
                    stored.lists.iter().for_each(|list| tally.frame(list));
                    tally.row(run, &stored.row, &extents);
                }
            }
            Err(error) => {
                tally.incomplete();
                blame(run, error, &id).await?;
            }
        }
    }
    compare(run, commit, tally).await
}

/// The extents of a row: its own, or those of its lists.
pub(super) async fn lists(reader: &mut MetaReader, lists: &[MetaRef], own: &[Extent]) -> Result<Vec<Extent>> {
    let mut extents = own.to_vec();
    for list in lists {
        extents.extend(rows::list(reader, list).await?);
    }
    Ok(extents)
}

/// What the rows of a table add up to.
#[derive(Debug)]
struct Tally {
    entries: Entries,
    tar_bytes: u64,
    refs: PackSet,
    merkle: Merkle,
    last: Option<Vec<u8>>,
    disorder: Option<Vec<u8>>,
    /// The first extent that lies outside of its pack.
    outside: Option<(PackRef, u32, Vec<u8>)>,
    complete: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            entries: Entries::default(),
            tar_bytes: TAR_END,
            refs: PackSet::default(),
            merkle: Merkle::default(),
            last: None,
            disorder: None,
            outside: None,
            complete: true,
        }
    }
}

impl Tally {
    /// Some of the table is lost: what it adds up to is not known.
    fn incomplete(&mut self) {
        self.complete = false;
    }

    fn frame(&mut self, frame: &MetaRef) {
        self.refs.add(frame.pack.of(PackKind::Meta), frame.plain.into());
    }

    fn row(&mut self, run: &Run<'_>, row: &Row, extents: &[Extent]) {
        if self.last.as_ref().is_some_and(|last| order::compare(last, &row.path).is_ge()) {
            self.disorder.get_or_insert_with(|| row.path.clone());
        }
        self.last = Some(row.path.clone());
        self.merkle.add(row);
        self.entries.count(row);
        for extent in extents {
            let pack = extent.pack.of(PackKind::Data);
            self.refs.add(pack, extent.take.into());
            self.tar_bytes = self.tar_bytes.saturating_add(extent.take.into());
            let end = u64::from(extent.offset) + u64::from(extent.stored);
            if run.catalog.plain.get(pack).is_some_and(|plain| end > u64::from(plain)) {
                self.outside.get_or_insert_with(|| (pack, extent.offset, row.path.clone()));
            }
        }
    }
}

/// Compares what the rows add up to with what the commit says.
async fn compare(run: &mut Run<'_>, commit: &Commit, tally: Tally) -> Result<()> {
    let id = commit.id();
    let key = layout::beside(&id, Beside::Commit);
    let all = || vec![LostPaths::new(id.clone(), Scope::Unknown)];
    if let Some((pack, offset, path)) = tally.outside {
        let lost = LostPaths { paths: vec![path], count: 1, ..LostPaths::new(id.clone(), Scope::Unknown) };
        let what = format!("a file table names a frame at byte {offset} that would lie beyond its end");
        run.findings.damage(layout::pack(pack), what, vec![lost]);
    }
    if let Some(path) = tally.disorder {
        let what = format!("its file table is out of order at {}", super::path_text(&path));
        run.findings.damage(key.clone(), what, all());
    }
    if !tally.complete {
        return Ok(());
    }
    let Tally { entries, tar_bytes, refs, merkle, .. } = tally;
    let checks = [
        ("Merkle root", Sha256Hex(merkle.finish()) == commit.table.merkle),
        ("numbers of entries", entries == commit.entries),
        ("length of the tar stream", tar_bytes == commit.tar.bytes),
    ];
    for (name, _) in checks.iter().filter(|(_, same)| !same) {
        run.findings.damage(key.clone(), format!("its {name} is not that of its file table"), all());
    }
    match packs::refs(run.repository, commit).await {
        Ok(named) if named == refs => {}
        Ok(_) => {
            run.doubtful.insert(id.clone());
            run.findings.damage(layout::beside(&id, Beside::Refs), "it does not name what the file table names", all());
        }
        // What is wrong with it was found with the commit.
        Err(error) => drop(blamed(error)?),
    }
    require(run, &refs);
    Ok(())
}

/// Packs that only a file table names, because `.refs` is damaged, are needed too.
fn require(run: &mut Run<'_>, refs: &PackSet) {
    for (pack, _) in refs.iter().filter(|(pack, _)| run.listing.packs.get(*pack).is_none()) {
        if !run.findings.broken.contains_key(&pack) {
            run.findings.broken(pack, Broken::new("it is missing", Harm::Missing));
        }
    }
    run.needed.merge(refs);
}

/// Enters an error of a file table as what it is: a damaged pack, a table that was never right, or no finding at all.
async fn blame(run: &mut Run<'_>, error: Error, id: &SnapshotId) -> Result<()> {
    let key = match &error {
        Error::NoIdentity { key, .. } => Ok((key.clone(), String::new())),
        other => blamed(other.clone()),
    };
    let (key, what) = key?;
    let Some(pack) = layout::parse_pack(&key) else {
        run.findings.damage(key, what, vec![LostPaths::new(id.clone(), Scope::All)]);
        return Ok(());
    };
    if run.findings.broken.get(&pack).is_some_and(|broken| broken.harm != Harm::Unseen) {
        return Ok(());
    }
    let witness = run.catalog.rows.get(&pack).map_or(Witness::None, |row| Witness::Signed(*row));
    match inspect(run, pack, witness).await? {
        Verdict::Broken(broken) => run.findings.broken(pack, broken),
        // A header that was changed opens no more, and so does one of other recipients: only the hash tells them apart.
        verdict @ Verdict::Unopened => return data::take(run, pack, verdict),
        Verdict::Sound | Verdict::RowWrong if matches!(error, Error::NoIdentity { .. }) => return Err(error),
        Verdict::Sound | Verdict::RowWrong => {
            run.findings.damage(key, what, vec![LostPaths::new(id.clone(), Scope::Unknown)]);
        }
    }
    Ok(())
}
