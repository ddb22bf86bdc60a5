//! What a check finds: nothing in a healthy repository; every object that is gone or changed; and exactly the paths that it costs.

mod made;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use made::{IDENTITY, RECIPIENT, keys, made, made_with_a_long_table, time, volume};
use trysail_repository::{
    Error, Repository, Result,
    check::{CheckOptions, CheckReport, Finding, Level, LostPaths, Scope, Severity, Subset, check, mark_bad},
    layout::{self, Beside},
    seal::Identity,
    store::{ErrorKind, Key, ObjectStore},
    table::PackKind,
    testing::{Fault, Faulty, Op, Recorded},
    write::{Session, SessionPlan},
};

/// Objects that help writers: no reader needs them.
fn helps_writers(key: &Key) -> bool {
    let part = matches!(layout::parse_beside(key), Some((_, Beside::Part(_))));
    part || layout::parse_session_open(key).is_some() || layout::parse_index_delta(key).is_some()
}

fn is_text(key: &Key) -> bool {
    [layout::format_text(), layout::rescue_script()].contains(key)
}

/// That a changed object is found: named by a finding, or the repository does not open.
fn assert_found(key: &Key, change: &str, outcome: Result<CheckReport>) {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            let opens = !matches!(error, Error::NoRepository | Error::Config { .. });
            assert!(!opens && key.as_str() == layout::REPO_JSON, "{key} {change}: {error}");
            return;
        }
    };
    let named: Vec<&Finding> = report.findings.iter().filter(|finding| finding.key == *key).collect();
    let others = report.findings.iter().filter(|f| f.key != *key && f.severity == Severity::Damage);
    let others: Vec<&Finding> = others.collect();
    assert!(others.is_empty() || key.as_str().starts_with("v1/s/"), "{key} {change}: {others:#?}");
    if helps_writers(key) {
        assert_eq!(report.damage, 0, "{key} {change}");
    } else {
        assert!(!named.is_empty(), "{key} {change}: {:#?}", report.findings);
        assert!(!is_text(key) || named[0].severity == Severity::Notice, "{key} {change}");
    }
}

#[tokio::test]
async fn a_healthy_repository_has_no_findings_at_any_depth() {
    for (recipients, identity, keys, level) in [
        (&[][..], "", None, Level::Contents),
        (&[RECIPIENT][..], "", None, Level::Stored),
        (&[RECIPIENT][..], "", Some(keys()), Level::Tables),
        (&[RECIPIENT][..], IDENTITY, None, Level::Contents),
    ] {
        let made = made(recipients).await;
        let identity = if identity.is_empty() { Identity::default() } else { made.identity.clone() };
        let options = CheckOptions { identity, keys, read_data: Some(Subset::ALL), only: None };
        let report = made.check_with(&options).await.expect("a whole repository");
        let expected = CheckReport {
            level,
            snapshots: 2,
            packs: 5,
            read_data: Some(Subset::ALL),
            packs_read: 5,
            bytes_read: report.bytes_read,
            damage: 0,
            notices: 0,
            findings: Vec::new(),
            bad_packs: Vec::new(),
        };
        assert_eq!(report, expected);
    }
}

#[tokio::test]
async fn each_object_that_is_deleted_is_named() {
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        for (key, body) in made.objects().await {
            made.replace(&key, None).await;
            assert_found(&key, "deleted", made.check().await);
            made.replace(&key, Some(body)).await;
        }
        assert_eq!(made.check().await.expect("whole again").findings, []);
    }
}

#[tokio::test]
async fn each_object_that_is_cut_short_or_made_longer_or_changed_is_named() {
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        for (key, body) in made.objects().await.into_iter().filter(|(_, body)| !body.is_empty()) {
            let mut flipped = body.to_vec();
            flipped[body.len() / 2] ^= 1;
            for (change, bytes) in [
                ("emptied", Bytes::new()),
                ("cut short", body.slice(..body.len() - 1)),
                ("cut in half", body.slice(..body.len() / 2)),
                ("made longer", Bytes::from([&body[..], b"x"].concat())),
                ("changed", Bytes::from(flipped)),
            ] {
                made.replace(&key, Some(bytes)).await;
                assert_found(&key, change, made.check().await);
            }
            made.replace(&key, Some(body)).await;
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_is_detected() {
    let step = if std::env::var("TRYSAIL_TORTURE").is_ok_and(|size| size == "large") { 1 } else { 97 };
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        let mut bit = 0;
        let needed = |key: &Key| !helps_writers(key) && !is_text(key);
        for (key, body) in made.objects().await.into_iter().filter(|(key, _)| needed(key)) {
            let bits = body.len() * 8;
            while bit < bits {
                let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(made.store.damage(&key, flip));
                assert_found(&key, &format!("with bit {bit} flipped"), made.check().await);
                assert!(made.store.damage(&key, flip));
                bit += step;
            }
            bit -= bits;
        }
    }
}

#[tokio::test]
async fn a_missing_pack_costs_exactly_the_paths_whose_content_it_holds() {
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        // Header of `b/large`, root, `b`, `b/empty` and `b/link` lose their tar member only.
        for (pack, paths, members, snapshots) in [
            (made.pack(0, PackKind::Data, 0), &["a"][..], 5, &[0, 1][..]),
            (made.pack(0, PackKind::Data, 1), &["b/large", "b/link"], 0, &[0, 1]),
            (made.pack(1, PackKind::Data, 0), &["new"], 0, &[1]),
        ] {
            let key = layout::pack(pack);
            let body = made.store.get(&key).await.expect("a pack");
            made.replace(&key, None).await;
            let report = made.check().await.expect("the store is fine");
            made.replace(&key, Some(body)).await;
            let affected: Vec<_> = snapshots.iter().map(|n| made.lost(*n, paths, members)).collect();
            let snapshots = affected.len() as u64;
            let what = "it is missing".to_owned();
            assert_eq!(report.findings, [Finding { severity: Severity::Damage, key, what, affected, snapshots }]);
            assert_eq!(report.bad_packs, [pack]);
        }
    }
}

#[tokio::test]
async fn a_damaged_frame_of_a_pack_costs_no_more_than_its_own_paths() {
    let made = made(&[]).await;
    let pack = made.pack(0, PackKind::Data, 1);
    // The second chunk begins after the first, whose 600 bytes do not compress.
    assert!(made.store.damage(&layout::pack(pack), |bytes| bytes[700] ^= 1));
    let report = made.check().await.expect("the store is fine");
    let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    assert!(finding.what.contains("1 of 2 frames are damaged"), "{}", finding.what);
    assert_eq!(finding.affected, [made.lost(0, &["b/large", "b/link"], 0), made.lost(1, &["b/large", "b/link"], 0)]);

    let pack = made.pack(0, PackKind::Data, 0);
    let end = made.store.get(&layout::pack(pack)).await.expect("a pack").len() - 5;
    assert!(made.store.damage(&layout::pack(pack), |bytes| bytes[end] ^= 1));
    let report = made.check().await.expect("the store is fine");
    let finding = report.findings.iter().find(|f| f.key == layout::pack(pack)).expect("it is named");
    assert_eq!(
        (finding.snapshots, report.bad_packs.len()),
        (0, 2),
        "its seek table is damaged, which holds no content"
    );
}

#[tokio::test]
async fn a_damaged_meta_pack_costs_its_snapshot_and_without_a_key_snapshots_are_named_alone() {
    let made = made(&[RECIPIENT]).await;
    let (meta, data) = (made.pack(1, PackKind::Meta, 0), made.pack(0, PackKind::Data, 1));
    for pack in [meta, data] {
        made.replace(&layout::pack(pack), None).await;
    }
    let affected = |report: &CheckReport, pack| {
        let finding = report.findings.iter().find(|f| f.key == layout::pack(pack)).expect("it is named");
        finding.affected.clone()
    };
    let lost = |n: usize, scope| LostPaths::new(made.snapshots[n].clone(), scope);
    let report = made.check().await.expect("the store is fine");
    assert_eq!(affected(&report, meta), [lost(1, Scope::All)]);
    assert_eq!(affected(&report, data), [made.lost(0, &["b/large", "b/link"], 0)]);
    let report = made.check_with(&CheckOptions::default()).await.expect("the store is fine");
    assert_eq!(affected(&report, meta), [lost(1, Scope::Unknown)]);
    assert_eq!(affected(&report, data), [lost(0, Scope::Unknown), lost(1, Scope::Unknown)]);
    assert_eq!(report.bad_packs, [data, meta]);
}

#[tokio::test]
async fn the_parts_of_the_data_read_each_pack_once() {
    let made = made(&[]).await;
    let mut read = 0;
    for n in 1..=3 {
        let read_data = Some(format!("{n}/3").parse().expect("a part"));
        read +=
            made.check_with(&CheckOptions { read_data, ..CheckOptions::default() }).await.expect("whole").packs_read;
    }
    assert_eq!(read, 5);
}

#[tokio::test]
async fn a_check_of_one_snapshot_sees_what_it_needs_and_nothing_else() {
    let made = made(&[]).await;
    let of = |n: usize| CheckOptions {
        identity: made.identity.clone(),
        read_data: Some(Subset::ALL),
        only: Some([made.snapshots[n].clone()].into()),
        ..CheckOptions::default()
    };
    let whole = made.check_with(&of(0)).await.expect("the store is fine");
    assert_eq!((whole.level, whole.snapshots, whole.is_sound(), whole.notices), (Level::Contents, 1, true, 0));
    let shared = made.pack(0, PackKind::Data, 1);
    let own = made.pack(1, PackKind::Data, 0);
    made.replace(&layout::pack(own), None).await;
    assert!(made.check_with(&of(0)).await.expect("the store is fine").is_sound());
    assert_eq!(made.check_with(&of(1)).await.expect("the store is fine").bad_packs, [own]);
    let body = made.store.get(&layout::pack(shared)).await.expect("stored");
    let mut changed = body.to_vec();
    changed[body.len() / 2] ^= 1;
    made.replace(&layout::pack(shared), Some(changed.into())).await;
    assert_eq!(made.check_with(&of(0)).await.expect("the store is fine").bad_packs, [shared]);
    assert_eq!(made.check_with(&of(1)).await.expect("the store is fine").bad_packs, [shared, own]);
    for what in [Beside::Commit, Beside::Refs, Beside::Recipe] {
        made.replace(&layout::beside(&made.snapshots[0], what), None).await;
    }
    let report = made.check_with(&of(0)).await.expect("the store is fine");
    let commit = layout::beside(&made.snapshots[0], Beside::Commit);
    let missing: Vec<&str> = report.findings.iter().filter(|f| f.key == commit).map(|f| f.what.as_str()).collect();
    assert_eq!((report.snapshots, missing), (0, vec!["it is missing"]));
}

#[tokio::test]
async fn a_pack_marked_as_bad_is_not_offered_again_and_no_session_refers_to_it() {
    let made = made(&[]).await;
    let pack = made.pack(0, PackKind::Data, 1);
    made.replace(&layout::pack(pack), None).await;
    for _ in 0..2 {
        mark_bad(&*made.store, pack).await.expect("marks");
    }
    let report = made.check().await.expect("the store is fine");
    assert_eq!((report.damage, report.bad_packs), (1, vec![]));
    let repository = Repository::open(made.store.clone(), None).await.expect("opens");
    let plan = SessionPlan { volume: volume(), uid: String::new(), keys: keys().for_volume(&volume()), now: time(9) };
    let session = Session::begin(&repository, plan).await.expect("begins");
    assert!(!session.may_refer_to(pack));
}

#[tokio::test]
async fn a_commit_that_was_removed_with_all_beside_it_leaves_a_gap() {
    let made = made(&[]).await;
    for what in [Beside::Commit, Beside::Refs, Beside::Recipe] {
        made.replace(&layout::beside(&made.snapshots[0], what), None).await;
    }
    let report = made.check().await.expect("the store is fine");
    let expected = Finding {
        severity: Severity::Notice,
        key: layout::beside(&made.snapshots[1], Beside::Commit),
        what: "RollbackSuspected: of its volume, commit 1 is missing: it expired, or was removed or hidden".to_owned(),
        affected: Vec::new(),
        snapshots: 0,
    };
    assert_eq!(report.findings, [expected]);
}

#[tokio::test]
async fn a_store_that_fails_and_an_identity_that_does_not_fit_are_errors_and_no_findings() {
    let made = made(&[RECIPIENT]).await;
    let options =
        CheckOptions { identity: made.identity.clone(), keys: None, read_data: Some(Subset::ALL), only: None };
    let faulty = Arc::new(Faulty::new(made.store.clone()));
    let repository = Repository::open(faulty.clone(), None).await.expect("opens");
    let before = faulty.calls();
    check(&repository, &options, &|_| ()).await.expect("whole");
    for call in 0..faulty.calls() - before {
        let faulty = Arc::new(Faulty::new(made.store.clone()));
        let repository = Repository::open(faulty.clone(), None).await.expect("opens");
        faulty.at_call(faulty.calls() + call, Fault::Fail(ErrorKind::Transient));
        let outcome = check(&repository, &options, &|_| ()).await;
        assert!(matches!(outcome, Err(Error::Store(_))), "call {call}: {outcome:?}");
    }
    faulty.on_key(Some(Op::Get), "/000001.pk", u32::MAX, Fault::Fail(ErrorKind::Corrupt));
    let report = check(&repository, &options, &|_| ()).await.expect("the rest is read");
    assert_eq!(report.bad_packs, [made.pack(0, PackKind::Data, 1)]);
    let wrong = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    let identity = Identity::parse(wrong).expect("an identity");
    let outcome = made.check_with(&CheckOptions { identity, ..CheckOptions::default() }).await;
    assert!(matches!(outcome, Err(Error::NoIdentity { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_report_reads_as_json() {
    let made = made(&[]).await;
    made.replace(&layout::pack(made.pack(1, PackKind::Data, 0)), None).await;
    let report = made.check().await.expect("the store is fine");
    let json = serde_json::to_string(&report).expect("a report is JSON");
    let json = json.replace(&made.snapshots[1].session.to_string(), "S").replace(&report.bytes_read.to_string(), "n");
    expect_test::expect![[r#"{"level":"contents","snapshots":2,"packs":5,"read_data":"1/1","packs_read":4,"bytes_read":n,"damage":1,"notices":0,"findings":[{"severity":"damage","key":"v1/p/S/000000.pk","what":"it is missing","affected":[{"snapshot":"data/S","scope":"paths","paths":["new"],"count":1,"members":0,"ranges":[]}],"snapshots":1}],"bad_packs":["v1/p/S/000000.pk"]}"#]].assert_eq(&json);
}

#[tokio::test]
async fn meta_packs_that_many_snapshots_share_are_fetched_once() {
    const SNAPSHOTS: i64 = 3;
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made_with_a_long_table(recipients, SNAPSHOTS).await;
        let recorded = Arc::new(Recorded::new(made.store.clone()));
        let repository = Repository::open(recorded.clone(), None).await.expect("opens");
        let options = CheckOptions { identity: made.identity.clone(), keys: None, read_data: None, only: None };
        let report = check(&repository, &options, &|_| ()).await.expect("whole");
        assert_eq!((report.snapshots, report.findings.as_slice()), (SNAPSHOTS.unsigned_abs(), &[][..]));
        let mut fetched = BTreeMap::new();
        for call in recorded
            .take()
            .into_iter()
            .filter(|c| c.op == Op::Get && c.key.starts_with(layout::packs_prefix(PackKind::Meta)))
        {
            *fetched.entry(call.key).or_insert(0) += 1;
        }
        let stored = made.objects().await.into_iter().map(|(key, _)| key.to_string());
        let expected: BTreeMap<String, i32> =
            stored.filter(|key| key.starts_with(layout::packs_prefix(PackKind::Meta))).map(|key| (key, 1)).collect();
        assert!(expected.len() > 5, "the table is a long one: {expected:?}");
        assert_eq!(fetched, expected);
    }
}
