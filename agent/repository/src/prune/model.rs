//! A discrete-event model of writers and collectors on one strongly consistent store, played against the real `plan`.
//!
//! Writers have stale indexes, bases that expire, adopted sessions, aborts and over-long runs. Collectors stall for days between
//! listing, confirming, condemning and deleting. Writers are in `world`, collectors in `collector`; here are the protocol, its mutants,
//! and what each must show. Seeds are fixed; `TRYSAIL_TORTURE_RUNS` sets their number.

mod collector;
mod world;

use jiff::SignedDuration;
use world::World;

use super::plan::Limits;

/// How writers and collectors behave. Product code knows nothing of the variants: they change what surrounds it.
#[derive(Debug, Clone, Copy)]
struct Protocol {
    limits: Limits,
    /// The longest that a collector stalls, in hours.
    stall: u64,
    /// What writers make of condemned packs.
    condemned: Condemned,
    /// When sessions end that would take longer than S.
    deadline: Deadline,
    /// What a sweep knows of commits.
    sweep: Sweep,
    /// What a collector knows of the deltas of the index.
    index: Index,
    /// What it knows of merged generations.
    generations: Index,
    /// What readers make of a generation that was published after its session's time was over.
    late: Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    LeftOut,
    Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condemned {
    ForEver,
    /// A pack that a collector found due but needed may be referred to again.
    UntilRescued,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Kept,
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Rechecks,
    /// Deletes what is due without asking whether it is needed.
    Blind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    Listed,
    /// Condemned sets go by the age of the sweep alone, while the index may still offer what they name.
    Overlooked,
}

fn limits(session_max: i64, grace: i64) -> Limits {
    Limits { session_max: SignedDuration::from_hours(session_max), grace: SignedDuration::from_hours(grace) }
}

fn proposed() -> Protocol {
    Protocol {
        limits: limits(24, 72),
        stall: 200,
        condemned: Condemned::ForEver,
        deadline: Deadline::Kept,
        sweep: Sweep::Rechecks,
        index: Index::Listed,
        generations: Index::Listed,
        late: Late::LeftOut,
    }
}

/// Enough for every mutant to lose data many times over, in seconds.
const RUNS: u64 = 60;

fn runs() -> u64 {
    std::env::var("TRYSAIL_TORTURE_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(RUNS)
}

/// The seeds of the runs that lost data, with what they lost.
fn losses(protocol: Protocol) -> Vec<(u64, String)> {
    (0..runs()).filter_map(|seed| Some((seed, World::play(protocol, seed).lost?))).collect()
}

/// How many of the default runs lose data: mutants are tried no more often, whatever the environment says.
fn losing_runs(protocol: Protocol) -> usize {
    (0..RUNS).filter(|seed| World::play(protocol, *seed).lost.is_some()).count()
}

#[test]
fn no_snapshot_loses_a_pack() {
    assert_eq!(losses(proposed()), []);
}

#[test]
fn no_snapshot_loses_a_pack_where_grace_is_hardly_longer_than_a_session_and_collectors_stall_for_weeks() {
    let protocol = Protocol { limits: limits(24, 25), stall: 1000, ..proposed() };
    assert_eq!(protocol.limits.check(), Ok(()));
    assert_eq!(losses(protocol), []);
}

#[test]
fn the_model_is_a_busy_one_and_its_garbage_goes_away() {
    let world = World::play(proposed(), 0);
    let counts = [
        world.commits,
        world.condemned_packs,
        world.deleted,
        world.held,
        world.retired_sets,
        world.replaced_generations,
    ];
    assert!(counts.iter().all(|n| *n > 10), "commits, condemned, deleted, held, retired, replaced: {counts:?}");
}

#[test]
fn data_is_lost_where_a_rescue_makes_a_condemned_pack_referable_again() {
    assert!(losing_runs(Protocol { condemned: Condemned::UntilRescued, ..proposed() }) > 0);
}

#[test]
fn data_is_lost_where_grace_is_shorter_than_a_session() {
    let protocol = Protocol { limits: limits(24, 12), ..proposed() };
    assert!(protocol.limits.check().is_err());
    assert!(losing_runs(protocol) > 0);
}

#[test]
fn data_is_lost_where_sessions_outlive_their_deadline() {
    assert!(losing_runs(Protocol { deadline: Deadline::Ignored, limits: limits(24, 30), ..proposed() }) > 0);
}

#[test]
fn data_is_lost_where_a_sweep_does_not_look_at_commits_again() {
    assert!(losing_runs(Protocol { sweep: Sweep::Blind, ..proposed() }) > 0);
}

#[test]
fn data_is_lost_where_condemned_sets_go_while_an_index_still_offers_their_packs() {
    assert!(losing_runs(Protocol { index: Index::Overlooked, ..proposed() }) > 0);
}

#[test]
fn data_is_lost_where_condemned_sets_go_while_a_merged_generation_still_offers_their_packs() {
    assert!(losing_runs(Protocol { generations: Index::Overlooked, ..proposed() }) > 0);
}

#[test]
fn data_is_lost_where_a_generation_counts_that_came_after_its_sessions_time() {
    assert!(losing_runs(Protocol { late: Late::Counts, stall: 1000, ..proposed() }) > 0);
}
