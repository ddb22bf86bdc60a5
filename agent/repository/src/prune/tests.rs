//! The rules of `FORMAT.md` §11, one by one, on inventories made by hand. Times are hours; S is 24, G is 72.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    layout::{self, Beside, GenerationPart, SnapshotId, VolumeName},
    pack_set::PackSet,
    session::SessionId,
    table::{PackKind, PackRef},
};

const LIMITS: Limits = Limits { session_max: SignedDuration::from_hours(24), grace: SignedDuration::from_hours(72) };

/// Hour at which the prunes of these tests run.
const NOW: i64 = 1000;

fn hour(hour: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour)
}

fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn pack(session_n: u8, number: u32) -> PackRef {
    PackRef { session: session(session_n), kind: PackKind::Data, number }
}

fn set(packs: &[PackRef]) -> PackSet {
    packs.iter().map(|pack| (*pack, 0)).collect()
}

/// Packs of 10 bytes, made at hour 1.
fn stored(packs: &[PackRef]) -> Inventory {
    let mut inventory = Inventory::default();
    for pack in packs {
        inventory.packs.add(*pack, 10, hour(1));
    }
    inventory
}

fn opened(at: i64, adopts: &[u8]) -> Session {
    let adopts = adopts.iter().map(|n| session(*n)).collect();
    Session { opened: Some(hour(at)), adopts: Some(adopts), table: true }
}

fn plan(inventory: &Inventory) -> Plan {
    Plan::of(inventory, LIMITS, hour(NOW))
}

#[test]
fn packs_of_sessions_younger_than_s_and_g_are_live_and_so_is_what_these_adopt() {
    let mut inventory = stored(&[pack(1, 0), pack(2, 0), pack(3, 0), pack(4, 0)]);
    inventory.sessions = [
        (session(1), opened(NOW - 96, &[2])),
        (session(2), opened(1, &[3])),
        (session(3), opened(1, &[])),
        (session(4), opened(NOW - 97, &[])),
    ]
    .into();
    assert_eq!((plan(&inventory).condemn, plan(&inventory).condemn_bytes), (set(&[pack(4, 0)]), 10));
}

#[test]
fn packs_whose_open_is_lost_are_as_young_as_the_newest_of_their_session() {
    let mut inventory = stored(&[pack(1, 0), pack(2, 0)]);
    inventory.packs.add(pack(1, 1), 10, hour(NOW - 96));
    assert_eq!(plan(&inventory).condemn, set(&[pack(2, 0)]));
}

#[test]
fn condemned_packs_wait_for_g_and_then_go_unless_a_commit_needs_them() {
    let mut inventory = stored(&[pack(1, 0), pack(1, 1), pack(1, 2), pack(1, 3)]);
    let condemned = |at, packs: &[PackRef]| CondemnedSet { at: hour(at), packs: set(packs) };
    inventory.condemned = [
        (session(8), condemned(NOW - 72, &[pack(1, 0)])),
        (session(9), condemned(NOW - 73, &[pack(1, 1), pack(1, 2), pack(1, 7)])),
    ]
    .into();
    inventory.needed = set(&[pack(1, 2)]);
    let plan = plan(&inventory);
    assert_eq!((plan.sweep.as_slice(), plan.sweep_bytes, plan.held), ([pack(1, 1)].as_slice(), 10, 1));
    assert_eq!(plan.condemn, set(&[pack(1, 3)]));
    let waiting = Waiting { id: session(8).to_string(), due: hour(NOW), packs: 1, bytes: 10 };
    assert_eq!(plan.waiting, [waiting]);
}

#[test]
fn what_a_later_look_does_not_confirm_stays() {
    let mut inventory = stored(&[pack(1, 0), pack(1, 1), pack(2, 0), pack(2, 1)]);
    let packs = set(&[pack(1, 0), pack(1, 1)]);
    inventory.condemned = [(session(9), CondemnedSet { at: hour(1), packs })].into();
    let first = plan(&inventory);
    inventory.needed = set(&[pack(1, 1), pack(2, 1)]);
    let confirmed = first.confirmed_by(&plan(&inventory), &inventory);
    assert_eq!((confirmed.sweep, confirmed.sweep_bytes), (vec![pack(1, 0)], 10));
    assert_eq!((confirmed.condemn, confirmed.condemn_bytes), (set(&[pack(2, 0)]), 10));
}

#[test]
fn a_pack_table_stays_while_packs_of_its_session_or_of_adopted_ones_are_stored_or_needed() {
    let mut inventory = stored(&[pack(3, 0)]);
    inventory.needed = set(&[pack(4, 0)]);
    inventory.sessions = [
        (session(1), opened(1, &[2])),
        (session(2), opened(1, &[3])),
        (session(4), opened(1, &[])),
        (session(5), opened(1, &[])),
        (session(6), Session { adopts: None, ..opened(1, &[]) }),
        (session(7), opened(NOW - 168, &[])),
    ]
    .into();
    let expected = Leftovers {
        tables: vec![layout::session_packs(session(5))],
        openings: vec![layout::session_open(session(5))],
        ..Leftovers::default()
    };
    assert_eq!(plan(&inventory).leftovers, expected);
}

#[test]
fn a_void_commit_goes_before_what_makes_it_void_and_sidecars_of_dead_sessions_go() {
    let snapshot = |n, objects: &[Beside], at| SnapshotObjects {
        id: SnapshotId { volume: VolumeName::new("v").expect("a name"), session: session(n) },
        objects: objects.to_vec(),
        newest: hour(at),
    };
    let kept = snapshot(1, &[Beside::Part(0), Beside::Commit, Beside::Recipe, Beside::Refs], 1);
    let void = snapshot(2, &[Beside::Commit, Beside::Refs, Beside::Void], 1);
    let dead = snapshot(3, &[Beside::Part(0), Beside::Refs], 1);
    let young = snapshot(4, &[Beside::Part(0), Beside::Refs], NOW - 96);
    let snapshots = vec![kept.clone(), void.clone(), dead.clone(), young];
    let expected = Leftovers {
        void_commits: vec![layout::beside(&void.id, Beside::Commit)],
        sidecars: vec![
            layout::beside(&kept.id, Beside::Part(0)),
            layout::beside(&void.id, Beside::Refs),
            layout::beside(&void.id, Beside::Void),
            layout::beside(&dead.id, Beside::Part(0)),
            layout::beside(&dead.id, Beside::Refs),
        ],
        ..Leftovers::default()
    };
    assert_eq!(plan(&Inventory { snapshots, ..Inventory::default() }).leftovers, expected);
}

#[test]
fn a_condemned_set_is_marked_when_no_index_offers_its_packs_and_goes_2_g_after_that() {
    let condemned = CondemnedSet { at: hour(1), packs: set(&[pack(1, 0)]) };
    let condemned = [(session(9), condemned)].into();
    let bare = Inventory { condemned, ..Inventory::default() };
    let with_delta = Inventory { deltas: [((session(1), 0), hour(NOW))].into(), ..bare.clone() };
    let generation = |offers: Option<PackSet>| Generation {
        objects: vec![GenerationPart::Description],
        newest: hour(NOW),
        published: None,
        offers,
    };
    let with_generation = |offers| Inventory { generations: [(session(5), generation(offers))].into(), ..bare.clone() };
    let part = |n, at| SnapshotObjects {
        id: SnapshotId { volume: VolumeName::new("v").expect("a name"), session: session(n) },
        objects: vec![Beside::Part(0)],
        newest: hour(at),
    };
    let with_part = |n, at| Inventory { snapshots: vec![part(n, at)], ..bare.clone() };
    assert_eq!(plan(&with_delta).gone, []);
    assert_eq!(plan(&with_part(1, NOW)).gone, []);
    assert_eq!(plan(&with_part(2, 73)).gone, []);
    assert_eq!(plan(&with_part(2, 74)).gone, [session(9)]);
    assert_eq!(plan(&with_generation(None)).gone, [], "what it offers is not known");
    assert_eq!(plan(&with_generation(Some(set(&[pack(1, 0), pack(2, 0)])))).gone, []);
    assert_eq!(plan(&with_generation(Some(set(&[pack(2, 0)])))).gone, [session(9)]);
    assert_eq!(plan(&bare).gone, [session(9)]);

    let marked = |at| Inventory { swept: [(session(9), hour(at))].into(), ..bare.clone() };
    assert_eq!(plan(&marked(NOW - 144)).leftovers, Leftovers::default());
    let expected = Leftovers {
        condemned: vec![layout::condemned(session(9))],
        reports: vec![layout::swept(session(9))],
        ..Leftovers::default()
    };
    assert_eq!(plan(&marked(NOW - 145)).leftovers, expected);
    let without_set = Inventory { condemned: BTreeMap::new(), ..marked(NOW - 145) };
    let reports = vec![layout::swept(session(9))];
    assert_eq!(plan(&without_set).leftovers, Leftovers { reports, ..Leftovers::default() });
    let damaged = vec![session(9)];
    assert_eq!(plan(&Inventory { damaged, ..without_set }).leftovers, Leftovers::default());
}

#[test]
fn index_deltas_go_when_no_pack_of_their_session_is_live() {
    let delta = |n, at| ((session(n), 3), hour(at));
    let deltas = [delta(1, 1), delta(2, 1), delta(3, 1), delta(4, NOW - 96)].into();
    let sessions = [(session(3), opened(NOW - 96, &[]))].into();
    let inventory = Inventory { deltas, sessions, needed: set(&[pack(2, 7)]), ..stored(&[pack(1, 0), pack(3, 0)]) };
    let deltas = vec![layout::index_delta(session(1), 3)];
    assert_eq!(plan(&inventory).leftovers, Leftovers { deltas, ..Leftovers::default() });
}

#[test]
fn the_newest_generation_replaces_its_deltas_and_older_ones_when_it_is_older_than_a_session() {
    let generation = |at, opened, deltas: &[(SessionId, u32)]| Generation {
        objects: vec![GenerationPart::Offers, GenerationPart::Description],
        newest: at,
        published: Some(Published { at, opened, deltas: deltas.iter().copied().collect() }),
        offers: Some(PackSet::default()),
    };
    let minute = |m| hour(NOW - 24) - SignedDuration::from_mins(m);
    let with = |newest: Generation| Inventory {
        generations: [(session(1), generation(hour(1), hour(1), &[])), (session(2), newest)].into(),
        deltas: [((session(7), 0), hour(NOW)), ((session(7), 1), hour(NOW))].into(),
        ..Inventory::default()
    };
    let replaced = Leftovers {
        deltas: vec![layout::index_delta(session(7), 0)],
        generations: vec![
            layout::generation(session(1), GenerationPart::Description),
            layout::generation(session(1), GenerationPart::Offers),
        ],
        ..Leftovers::default()
    };
    let deltas = [(session(7), 0)];
    assert_eq!(plan(&with(generation(minute(16), minute(16), &deltas))).leftovers, replaced);
    assert_eq!(plan(&with(generation(minute(15), minute(15), &deltas))).leftovers, Leftovers::default());
    let late = generation(minute(16), minute(16 + 24 * 60 + 1), &deltas);
    assert_eq!(plan(&with(late)).leftovers, Leftovers::default(), "no reader takes it");
    let unreadable = Generation { published: None, offers: None, ..generation(hour(NOW - 97), hour(1), &[]) };
    let keys = |id| [GenerationPart::Description, GenerationPart::Offers].map(|part| layout::generation(id, part));
    let died = Leftovers { generations: keys(session(2)).into(), ..Leftovers::default() };
    assert_eq!(plan(&with(unreadable)).leftovers, died);
}

#[test]
fn limits_that_let_a_sweep_overtake_a_commit_are_refused() {
    let limits =
        |s, g| Limits { session_max: SignedDuration::from_mins(s), grace: SignedDuration::from_mins(g) }.check();
    assert_eq!((limits(1440, 1470), limits(8, 9)), (Ok(()), Ok(())));
    for (s, g) in [(1440, 1469), (8, 8), (0, 100), (-1, 100)] {
        assert!(limits(s, g).is_err(), "S {s}, G {g} minutes");
    }
}

#[test]
fn a_plan_says_what_and_how_much_and_when() {
    let mut inventory = stored(&[pack(1, 0), pack(1, 1), pack(1, 2), pack(1, 3)]);
    inventory.packs.add(pack(2, 0), 17 << 20, hour(1));
    let condemned = |at, packs: &[PackRef]| CondemnedSet { at: hour(at), packs: set(packs) };
    inventory.condemned =
        [(session(8), condemned(NOW - 1, &[pack(1, 0)])), (session(9), condemned(1, &[pack(1, 1), pack(1, 2)]))].into();
    inventory.needed = set(&[pack(1, 2)]);
    inventory.damaged = vec![session(7)];
    expect_test::expect![[r"
        delete   1 packs, 10 B now
        condemn  2 packs, 17.0 MiB now, freed after 1970-02-14T16:00:00Z
        wait     1 packs, 10 B condemned before, freed after 1970-02-14T15:00:00Z
        keep     1 packs that were condemned, and are needed
        damaged  condemned set 070W3GE1R70W3GE1R70W3GE1R7: its packs wait anew"]]
    .assert_eq(&plan(&inventory).to_string());
    assert_eq!(plan(&Inventory::default()).to_string(), "nothing to prune");
}
