//! `trysail repo check`.

use anyhow::Result;
use trysail_repository::check::{
    self, CheckOptions, CheckReport, Finding, Level, LostPaths, Progress, Scope, Severity,
};

use crate::{
    Outcome,
    args::{Format, Shared},
    output,
    place::{IfAbsent, Place},
};

/// Checks the repository; with `mark_bad`, marks what is damaged.
pub(super) async fn check(place: &Place, shared: &Shared, read_data: Option<&str>, mark_bad: bool) -> Result<Outcome> {
    let read_data = read_data.map(str::parse).transpose()?;
    let opened = place.open(IfAbsent::Refuse).await?;
    let (identity, keys) = opened.secrets();
    let options = CheckOptions { identity, keys, read_data, only: None };
    let silent = |_: Progress| {};
    let report = check::check(&opened.repository, &options, &silent).await?;
    match shared.format() {
        Format::Json | Format::Yaml => output::value(shared.format(), &report)?,
        Format::Table => print(&report)?,
    }
    if mark_bad {
        for pack in &report.bad_packs {
            check::mark_bad(&**opened.repository.store(), *pack).await?;
        }
        output::note(&format!("marked {} packs; the next backup stores again what they held", report.bad_packs.len()));
    } else if !report.bad_packs.is_empty() {
        output::note("heal what the volumes still hold with `trysail repo check --mark-bad` and a backup of each");
    }
    Ok(if report.is_sound() { Outcome::Done } else { Outcome::Damaged })
}

/// What was found, and which paths it costs.
pub(super) fn print_findings(report: &CheckReport) -> Result<()> {
    report.findings.iter().try_for_each(print_finding)
}

fn print(report: &CheckReport) -> Result<()> {
    print_findings(report)?;
    let depth = match report.level {
        Level::Stored => "stored objects (no key: neither file tables nor contents were opened)",
        Level::Tables => "stored objects and file tables (no identity: contents were not opened)",
        Level::Contents => "stored objects, file tables and, of packs that were read, contents",
    };
    output::line(&format!("checked    {depth}"))?;
    output::line(&format!("snapshots  {}, which need {} packs", report.snapshots, report.packs))?;
    output::line(&format!("read       {} packs, {}", report.packs_read, output::size(report.bytes_read)))?;
    let damage = if report.is_sound() { "none".to_owned() } else { format!("{} objects", report.damage) };
    output::line(&format!("damage     {damage}; {} notices", report.notices))
}

fn print_finding(finding: &Finding) -> Result<()> {
    let word = match finding.severity {
        Severity::Damage => "damage",
        Severity::Notice => "notice",
    };
    output::line(&format!("{word}: {} {}", finding.key, finding.what))?;
    for lost in &finding.affected {
        print_loss(lost)?;
    }
    let hidden = finding.snapshots.saturating_sub(finding.affected.len() as u64);
    if hidden > 0 {
        output::line(&format!("  and {hidden} more snapshots"))?;
    }
    Ok(())
}

fn print_loss(lost: &LostPaths) -> Result<()> {
    let LostPaths { snapshot, scope, paths, count, members, ranges } = lost;
    match scope {
        Scope::All => return output::line(&format!("  {snapshot}: all of it")),
        Scope::Unknown => {
            return output::line(&format!("  {snapshot}: some of it; with --identity the paths are named"));
        }
        Scope::Paths => {}
    }
    output::line(&format!("  {snapshot}: {count} files, {members} entries in the tar stream only"))?;
    for path in paths {
        output::line(&format!("    {}", output::path(path)))?;
    }
    for range in ranges {
        let end = range.end.as_ref().map_or_else(|| "the end".to_owned(), |p| output::path(p));
        output::line(&format!("    from {} up to {end}: {} entries", output::path(&range.first), range.rows))?;
    }
    Ok(())
}
