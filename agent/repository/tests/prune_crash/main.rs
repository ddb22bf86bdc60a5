//! Prunes that die at every request, before or after its effect, that meet a full store, a wrong clock and damage.
//! Those that meet each other are in `race`, those that meet a merge of the index in `merge`; what they work on is in `repository`.

mod merge;
mod race;
mod repository;

use jiff::SignedDuration;
use repository::{
    LIMITS, assert_whole, hours, keys, repository, run, session, settled, signers, snapshot, state, wait,
};
use trysail_repository::{
    layout::{self, Beside},
    prune::{self, Error, Plan, Prune, Report},
    store::{self, Created, ErrorKind, ObjectStore, memory::Memory},
    testing::{Fault, Faulty, Op, Stop},
};

#[test]
fn a_prune_deletes_what_is_due_condemns_what_is_garbage_and_clears_what_is_left_over() {
    let store = repository();
    let report = wait(run(&store, store.now())).expect("a whole repository");
    assert_whole(&store, "after a prune");
    let expected = Report {
        condemned_packs: 3,
        condemned_bytes: 12,
        condemned_due: Some(store.now() + hours(72)),
        swept_packs: 2,
        swept_bytes: 8,
        cleared_objects: 8,
        ballast_spent: false,
    };
    assert_eq!(report, expected);
    // A partial table that was there at the beginning could have named packs of a condemned set: that set goes in the next run.
    let second = wait(run(&store, store.now())).expect("a whole repository");
    assert_eq!(second, Report { cleared_objects: 2, ..Report::default() });
    expect_test::expect![[r"
        v1/gc/ballast
        v1/gc/c/081040G2081040G2081040G208
        v1/p/01040G2081040G2081040G2081/000000.pk
        v1/p/01040G2081040G2081040G2081/000001.pk
        v1/p/01040G2081040G2081040G2081/000004.pk
        v1/p/02081040G2081040G2081040G2/000000.pk
        v1/p/030C1G60R30C1G60R30C1G60R3/000000.pk
        v1/p/040G2081040G2081040G208104/000000.pk
        v1/p/050M2GA1850M2GA1850M2GA185/000000.pk
        v1/s/01040G2081040G2081040G2081.open
        v1/s/01040G2081040G2081040G2081.packs
        v1/s/02081040G2081040G2081040G2.open
        v1/s/02081040G2081040G2081040G2.packs
        v1/s/030C1G60R30C1G60R30C1G60R3.open
        v1/s/050M2GA1850M2GA1850M2GA185.open
        v1/s/050M2GA1850M2GA1850M2GA185.packs
        v1/snap/data/01040G2081040G2081040G2081.json
        v1/snap/data/01040G2081040G2081040G2081.recipe
        v1/snap/data/01040G2081040G2081040G2081.refs
        condemned v1/p/01040G2081040G2081040G2081/000004.pk
        condemned v1/p/02081040G2081040G2081040G2/000000.pk
        condemned v1/p/050M2GA1850M2GA1850M2GA185/000000.pk"]]
    .assert_eq(&state(&store).join("\n"));
    assert_eq!(wait(run(&store, store.now())), Ok(Report::default()));
}

#[test]
fn a_prune_that_dies_at_any_request_loses_nothing_and_the_next_one_finishes() {
    let whole = settled();
    for stop in [Stop::BeforeEffect, Stop::AfterEffect] {
        let mut died = 0;
        for calls in 0.. {
            let store = Faulty::new(repository());
            store.stop_after(calls, stop);
            let result = wait(run(&store, store.inner().now()));
            assert_whole(store.inner(), &format!("when it dies at request {calls}, {stop:?}"));
            store.heal();
            for _ in 0..2 {
                wait(run(&store, store.inner().now())).expect("the store works again");
            }
            let mut left = state(store.inner());
            // The mark by which the dead prune asked for the time.
            left.retain(|key| !key.starts_with(layout::SWEPT));
            assert_eq!(left, state(&whole), "after a prune died at request {calls}, {stop:?}");
            if result.is_ok() {
                break;
            }
            died += 1;
        }
        assert!(died > 30, "it died {died} times");
    }
}

#[test]
fn a_full_store_is_emptied_without_a_single_write() {
    let store = Faulty::new(repository());
    store.on_key(Some(Op::Create), "v1/", u32::MAX, Fault::Fail(ErrorKind::Full));
    let error = wait(run(&store, store.inner().now())).expect_err("there is no room to condemn");
    assert!(matches!(&error, Error::Store(store::Error { kind: ErrorKind::Full, .. })), "{error}");
    assert_whole(store.inner(), "on a full store");
    let left = keys(store.inner(), "v1/p/01040");
    assert_eq!(left.len(), 3, "the packs that were due are gone: {left:?}");
    assert_eq!(keys(store.inner(), "v1/gc/ballast"), Vec::<String>::new());
}

#[test]
fn the_ballast_makes_room_to_condemn() {
    let store = Faulty::new(repository());
    store.on_key(Some(Op::Create), "v1/gc/", 2, Fault::Fail(ErrorKind::Full));
    let report = wait(run(&store, store.inner().now())).expect("the ballast was in the way");
    assert_eq!((report.ballast_spent, report.condemned_packs), (true, 3));
    let made = wait(prune::create_ballast(&store)).expect("room again");
    assert_eq!(made, Created::New { at: store.inner().now() });
    assert_eq!(wait(prune::create_ballast(&store)), Ok(Created::AlreadyThere));
}

#[test]
fn clocks_that_disagree_stop_a_prune_before_anything_happens() {
    let store = repository();
    let before = state(&store);
    for machine in [store.now() + SignedDuration::from_secs(601), store.now() - SignedDuration::from_secs(601)] {
        assert_eq!(wait(run(&store, machine)), Err(Error::Clocks { store: store.now(), machine }));
    }
    assert_eq!(state(&store), before);
    wait(run(&store, store.now() + SignedDuration::from_mins(10))).expect("ten minutes are no disagreement");
}

#[test]
fn a_prune_stops_where_it_cannot_know_what_a_snapshot_needs() {
    let missing = |store: &Memory| wait(store.delete(&[layout::beside(&snapshot(1), Beside::Refs)])).expect("memory");
    let flip = |store: &Memory, what| {
        assert!(store.damage(&layout::beside(&snapshot(1), what), |bytes| bytes[20] ^= 1));
    };
    let cases: [&dyn Fn(&Memory); 3] = [&missing, &|s| flip(s, Beside::Refs), &|s| flip(s, Beside::Commit)];
    for damage in cases {
        let store = repository();
        damage(&store);
        let before = state(&store);
        let error = wait(run(&store, store.now())).expect_err("it cannot know");
        assert!(matches!(&error, Error::Unreadable(_)) && error.to_string().contains("v1/snap/data/"), "{error}");
        assert_eq!(state(&store), before);
    }
}

#[test]
fn packs_of_a_condemned_set_that_is_damaged_are_condemned_anew_and_wait_anew() {
    let store = repository();
    assert!(store.damage(&layout::condemned(session(8)), |bytes| bytes[3] ^= 1));
    let report = wait(run(&store, store.now())).expect("the other sets are whole");
    assert_eq!((report.swept_packs, report.condemned_packs), (0, 5));
    assert_whole(&store, "beside a damaged set");
}

#[test]
fn a_snapshot_that_is_forgotten_is_gone_at_the_first_request_and_its_packs_after_two_prunes() {
    let store = repository();
    for stop in 0..3 {
        let store = Faulty::new(repository());
        store.stop_after(stop, Stop::AfterEffect);
        wait(prune::forget(&store, &snapshot(1))).expect_err("it dies");
        store.heal();
        let commit = layout::beside(&snapshot(1), Beside::Commit).to_string();
        assert!(!keys(store.inner(), layout::SNAPSHOTS).contains(&commit));
        wait(prune::forget(&store, &snapshot(1))).expect("it ends what it began");
        assert!(keys(store.inner(), &format!("{}{}", layout::SNAPSHOTS, snapshot(1))).is_empty());
    }
    wait(prune::forget(&store, &snapshot(1))).expect("a snapshot");
    wait(run(&store, store.now())).expect("condemns");
    store.advance(hours(97));
    wait(run(&store, store.now())).expect("sweeps");
    assert!(keys(&store, "v1/p/01040").is_empty());
}

#[test]
fn a_dry_run_changes_nothing() {
    let store = repository();
    let (before, signers) = (keys(&store, "v1/"), signers());
    let prune = Prune::new(&store, &signers, LIMITS).expect("limits");
    let plan: Plan = wait(prune.plan(store.now())).expect("a plan");
    assert_eq!((plan.condemn.len(), plan.sweep.len(), keys(&store, "v1/")), (3, 2, before));
}

#[test]
fn a_prune_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    let store = repository();
    is_send(&run(&store, store.now()));
    is_send(&prune::forget(&store, &snapshot(1)));
}
