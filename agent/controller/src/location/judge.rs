//! The rules by which a location can be used or not, and what is to be said of it. Pure.

use jiff::SignedDuration;
use kube::ResourceExt as _;
use trysail_api::backup_storage_location::{BackupStorageLocation, LocationPhase};
use trysail_repository::store::{
    Error as StoreError, ErrorKind,
    s3::{Lifecycle, LifecycleRule},
};

use crate::{
    bucket::layout::DIRECTORIES,
    condition::{Condition, message, reasons},
};

/// How far our clock may be from the store's. Stores refuse signatures from 15 minutes on; prunes and expiry need both
/// clocks to agree well before that.
const CLOCK_DIFFERENCE_MAX: SignedDuration = SignedDuration::from_mins(10);

/// What was found when a location was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The location says what cannot be.
    Wrong(String),
    /// The store could not be asked, or refused.
    Broken(StoreError),
    /// This was seen.
    Seen(Sight),
}

/// What was seen in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// Directories below the prefix.
    pub(super) directories: Vec<String>,
    /// What the bucket does by itself.
    pub(super) lifecycle: Lifecycle,
    /// Why nothing can be written; none where it worked or was not tried.
    pub(super) refused_write: Option<StoreError>,
    /// How far our clock is ahead of the store's.
    pub(super) clock_difference: Option<SignedDuration>,
    /// Whether everything is sent in clear.
    pub(super) is_plaintext: bool,
    /// Whether certificates are not looked at.
    pub(super) trusts_anybody: bool,
    /// Settings that mean nothing here.
    pub(super) unknown_settings: Vec<String>,
}

impl Finding {
    /// Whether nothing was in the way.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self, Self::Seen(sight) if sight.refused_write.is_none())
    }
}

/// Whether a location can be used, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) phase: LocationPhase,
    /// For `status.message`; empty where there is nothing to say.
    pub(super) message: String,
    /// The same, one by one.
    pub(super) conditions: Vec<Condition>,
}

impl Verdict {
    /// The annotation's value: the reasons, with commas between.
    pub(super) fn annotation(&self) -> String {
        reasons(&self.conditions).join(",")
    }
}

/// Judges a location. What makes it unusable is said first.
pub(super) fn judge(location: &BackupStorageLocation, finding: &Finding, newer_defaults: &[String]) -> Verdict {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    match finding {
        Finding::Wrong(reason) => faults.push(Condition::new("InvalidLocation", reason)),
        Finding::Broken(error) => faults.push(broken(error)),
        Finding::Seen(sight) => {
            faults.extend(foreign(sight));
            faults.extend(expiring(location, &sight.lifecycle));
            faults.extend(sight.refused_write.as_ref().map(unwritable));
            faults.extend(skewed(sight.clock_difference));
            notes.extend(remarks(sight));
        }
    }
    if let Some(newest) = newer_defaults.last() {
        let sentence = format!(
            "{} and {newest} both say `default: true`; {newest} is taken, as it was made later",
            location.name_any()
        );
        notes.push(Condition::new("SeveralDefaults", sentence));
    }
    let phase = if faults.is_empty() { LocationPhase::Available } else { LocationPhase::Unavailable };
    faults.extend(notes);
    Verdict { phase, message: message(&faults), conditions: faults }
}

/// What a failure of the store means for people: each kind another reason, since each has another remedy.
fn broken(error: &StoreError) -> Condition {
    let (reason, remedy) = match error.kind {
        ErrorKind::NoBucket => ("NoBucket", "; make the bucket, or correct objectStorage.bucket"),
        ErrorKind::Denied => ("AccessDenied", "; correct the credentials or their rights"),
        ErrorKind::ClockSkew => ("ClockSkew", "; set the clock of the node or of the store"),
        ErrorKind::WrongRegion => ("WrongRegion", "; correct config.region"),
        ErrorKind::Full => ("StorageFull", "; make room"),
        ErrorKind::Transient => ("Unreachable", "; is config.s3Url right, and does the store run?"),
        _ => ("StoreFailed", ""),
    };
    Condition::new(reason, format!("{}: {}{remedy}", error.kind, error.detail))
}

/// Velero's rule and Velero's words: its server, which may share the bucket, would say the same.
///
/// Source: Velero `pkg/persistence/object_store.go`, `IsValid`.
fn foreign(sight: &Sight) -> Option<Condition> {
    let foreign: Vec<&str> =
        sight.directories.iter().map(String::as_str).filter(|name| !DIRECTORIES.contains(name)).collect();
    let sentence = format!("Backup store contains invalid top-level directories: [{}]", foreign.join(" "));
    (!foreign.is_empty()).then(|| Condition::new("ForeignDirectories", sentence))
}

/// Rules that delete objects by their age: a deduplicated object is needed by backups that are younger than itself.
fn expiring(location: &BackupStorageLocation, lifecycle: &Lifecycle) -> Option<Condition> {
    let Lifecycle::Rules(rules) = lifecycle else { return None };
    let storage = &location.spec.object_storage;
    let prefix = storage.prefix.as_deref().unwrap_or_default().trim_matches('/');
    let ours = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let destructive: Vec<&LifecycleRule> = rules.iter().filter(|rule| destroys(rule, &ours)).collect();
    let first = destructive.first()?;
    let bucket = &storage.bucket;
    let after = first.expires.as_deref().unwrap_or_default();
    let removals = destructive.iter().map(|rule| format!("mc ilm rule rm --id {} ALIAS/{bucket}", rule.id));
    let sentence = format!(
        "rule {} of bucket {bucket} deletes objects after {after}, which younger backups still need; remove it: {}",
        first.id,
        removals.collect::<Vec<_>>().join(" && "),
    );
    Some(Condition::new("LifecycleUnsafe", sentence))
}

/// Whether a rule deletes current objects of ours, whose full keys start with `ours`.
fn destroys(rule: &LifecycleRule, ours: &str) -> bool {
    let meets = rule.prefix.starts_with(ours) || ours.starts_with(&rule.prefix);
    rule.is_enabled && rule.expires.is_some() && !rule.asks_for_tags && meets
}

fn unwritable(error: &StoreError) -> Condition {
    let sentence = format!(
        "nothing can be written ({}: {}); give the credentials the right to put and delete objects, or set accessMode: \
         ReadOnly",
        error.kind, error.detail
    );
    Condition::new("Unwritable", sentence)
}

fn skewed(difference: Option<SignedDuration>) -> Option<Condition> {
    let difference = difference.filter(|difference| difference.abs() > CLOCK_DIFFERENCE_MAX)?;
    let seconds = difference.abs().as_secs();
    let which = if difference.is_negative() { "behind" } else { "ahead of" };
    let sentence = format!("our clock is {seconds} s {which} the store's; set the clock of the node or of the store");
    Some(Condition::new("ClockSkew", sentence))
}

/// What does not make a location unusable, and should not stay unsaid.
fn remarks(sight: &Sight) -> Vec<Condition> {
    let mut remarks = Vec::new();
    if let Lifecycle::Untold(detail) = &sight.lifecycle {
        let sentence = format!(
            "whether a rule of the bucket deletes backups is not known, since the store does not tell us ({detail}); allow \
             s3:GetLifecycleConfiguration"
        );
        remarks.push(Condition::new("LifecycleUnknown", sentence));
    }
    if sight.is_plaintext {
        let sentence = "config.s3Url is http: whoever listens on the way reads what is not encrypted";
        remarks.push(Condition::new("PlaintextTransport", sentence));
    }
    if sight.trusts_anybody {
        let sentence = "config.insecureSkipTLSVerify is true: whoever stands on the way can read and change everything";
        remarks.push(Condition::new("UnverifiedTransport", sentence));
    }
    if !sight.unknown_settings.is_empty() {
        let sentence = format!("without effect here: config.{}", sight.unknown_settings.join(", config."));
        remarks.push(Condition::new("UnknownSettings", sentence));
    }
    remarks
}
