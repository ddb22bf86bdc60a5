//! Every parser that reads what somebody else may have written. None may panic, hang, or take memory that its input does not justify.

use trysail_api::{cron::Cadence, duration::Duration, modifier::Modifiers, policy::Policy, selector::LabelSelector};
use trysail_cluster::archive::Reader;
use trysail_repository::{
    commit::Commit,
    config::RepoConfig,
    frame::Decompressor,
    index::Delta,
    keys::Keys,
    layout::{self, SnapshotId, VolumeName},
    pack::read_toc,
    pack_set::PackSet,
    pack_table::PackTable,
    recipe,
    seal::{self, Identity, Recipient},
    signature::verify_inventory,
    store::Key,
    table::decode,
};
use trysail_sops::{Format, Identities, Rules, open};

/// What is done with any bytes.
pub type Parser = fn(&[u8]);

/// All of them by name.
pub const ALL: [(&str, Parser); 23] = [
    ("repo-config", |bytes| drop(RepoConfig::parse(bytes))),
    ("commit", |bytes| drop(Commit::parse(bytes, &snapshot(), &[keys().signer().public()]))),
    ("inventory", |bytes| drop(verify_inventory(bytes, keys().root().public()))),
    ("pack-contents", |bytes| drop(read_toc(bytes))),
    ("pack-set", |bytes| drop(PackSet::decode(bytes))),
    ("pack-table", |bytes| drop(PackTable::decode(bytes))),
    ("table-block", |bytes| drop(decode::block(bytes))),
    ("table-root", |bytes| drop(decode::root(bytes))),
    ("table-list", |bytes| drop(decode::list(bytes))),
    ("recipe", |bytes| text(bytes, |text| drop(recipe::parse(text)))),
    ("frame", |bytes| {
        if let Ok(mut decompressor) = Decompressor::new() {
            let _ = decompressor.decode(bytes, 100_000).map(<[u8]>::len);
        }
    }),
    ("index-delta", |bytes| {
        let key = layout::index_delta(snapshot().session, 0);
        drop(Delta::open(&key, bytes, &keys().for_volume(&snapshot().volume).index));
    }),
    ("repository-keys", |bytes| drop(Keys::from_json(bytes))),
    ("age-file", |bytes| drop(seal::decrypt(bytes, &Identity::default()))),
    ("recipient", |bytes| text(bytes, |text| drop((Recipient::parse(text), Identity::parse(text))))),
    ("object-key", |bytes| {
        text(bytes, |text| {
            if let Some(key) = Key::parse(text) {
                drop((layout::parse_pack(&key), layout::parse_beside(&key), layout::parse_condemned(&key)));
            }
        });
    }),
    ("acl", |bytes| drop(trysail_volume::acl::text(bytes))),
    ("archive", |bytes| {
        let mut reader = Reader::new(bytes);
        while let Ok(Some(_)) = reader.next_item() {}
    }),
    ("cron", |bytes| {
        text(bytes, |text| {
            let cadence: Result<Cadence, _> = text.parse();
            drop(cadence.map(|cadence| cadence.next(jiff::Timestamp::UNIX_EPOCH)));
        });
    }),
    ("duration", |bytes| text(bytes, |text| drop(text.parse::<Duration>()))),
    ("policies", |bytes| text(bytes, |text| drop((Policy::parse(text), Modifiers::parse(text))))),
    ("selector", |bytes| {
        if let Ok(selector) = serde_json::from_slice::<LabelSelector>(bytes) {
            drop((selector.problems(), selector.matches(&[("a".to_owned(), "b".to_owned())].into())));
        }
    }),
    ("sops", |bytes| {
        text(bytes, |text| {
            drop(Rules::parse(text));
            for format in [Format::Yaml, Format::Json] {
                drop(open(text, format, &Identities::default()));
            }
        });
    }),
];

fn text(bytes: &[u8], parse: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse(text);
    }
}

fn keys() -> Keys {
    Keys::from_parts([1; 32], [2; 32])
}

fn snapshot() -> SnapshotId {
    let volume = VolumeName::from_escaped("v").expect("a name");
    SnapshotId { volume, session: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("a session") }
}
