//! Which volumes a backup reads, and why it leaves out the others. Pure: it looks at objects that were collected.
//!
//! The rule is that a claim in an included namespace is saved unless somebody opted out. Velero's
//! `defaultVolumesToFsBackup` keeps its meaning for what pods mount: `true` reads all volumes of a pod but those that it
//! excludes, `false` those alone that it names. Where it is absent, a pod that names volumes has exactly these read, and
//! every other pod its claims but those that it excludes. A claim that no running pod mounts is read by itself, unless
//! the field is `false`.

mod policy;
mod quantity;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use trysail_api::{
    backup::BackupSpec,
    policy::{ActionType, Policy},
};

pub use self::seen::Seen;
use self::seen::{Claim, Pod, PodVolume, Volume};
use crate::kind::Kind;

/// Volumes whose content is objects of the cluster. Source: Velero `pkg/util/podvolume/pod_volume.go`.
const OF_OBJECTS: [&str; 4] = ["configMap", "downwardAPI", "projected", "secret"];

/// How volumes with tokens of Kubernetes before 1.21 are called. Source: as above.
const TOKEN: &str = "default-token";

/// What a backup says about volumes.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `defaultVolumesToFsBackup`.
    pub default: Option<bool>,
    /// The rules of the policy that the backup names.
    pub policy: Option<Policy>,
    /// Whether claims are left out of the backup, and so what they hold.
    pub leaves_out_claims: bool,
    /// Directories of nodes below which node agents can read volumes that are directories of the node.
    pub host_paths: Vec<PathBuf>,
}

impl Settings {
    /// From a spec; its older field counts where the newer one is absent.
    pub fn of(spec: &BackupSpec, policy: Option<Policy>) -> Self {
        let default = spec.default_volumes_to_fs_backup.or(spec.default_volumes_to_restic);
        Self { default, policy, ..Self::default() }
    }

    /// The same, knowing whether claims are taken by rules of kinds.
    #[must_use]
    pub fn with_claims(mut self, rules: &crate::select::Rules, claims: &Kind) -> Self {
        self.leaves_out_claims = !rules.takes_kind(claims);
        self
    }
}

/// How a volume is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Through a running pod that mounts it.
    Pod {
        /// The pod's name.
        name: String,
        /// Its uid, by which kubelet names the directory.
        uid: String,
        /// Its node.
        node: String,
    },
    /// By the claim itself, which no running pod mounts: its files lie at a path that node agents read.
    Claim {
        /// The node that the volume can be reached from, where there is only one.
        node: Option<String>,
    },
    /// Through a pod that is made for that: no running pod mounts the claim, and nobody knows where its files lie until a kubelet
    /// mounts it.
    Held,
}

/// One volume to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeTask {
    /// The namespace.
    pub namespace: String,
    /// How it is reached.
    pub source: Source,
    /// Its name: within the pod, or of the claim.
    pub volume: String,
    /// Name and uid of the claim; none for a volume of the pod alone.
    pub claim: Option<(String, String)>,
    /// Patterns of files that are not read, as the pod and then the claim writes them.
    pub exclude: Vec<String>,
}

/// One volume that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The namespace.
    pub namespace: String,
    /// The pod that mounts it.
    pub pod: Option<String>,
    /// Its name within the pod, or that of the claim.
    pub volume: String,
    /// The claim.
    pub claim: Option<String>,
    /// Why.
    pub reason: Reason,
}

/// Why a volume is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The pod excludes it.
    OptedOut,
    /// The pod names other volumes, or the backup reads named ones alone.
    NotNamed,
    /// A rule of the policy skips it.
    Policy,
    /// A rule of the policy gives it to something that is not done here.
    PolicyOther(&'static str),
    /// Claims are not part of the backup.
    ClaimsLeftOut,
    /// This claim is not.
    ClaimNotThere,
    /// The claim has no volume.
    Unbound(String),
    /// It is a directory of the node that node agents cannot read.
    HostPath(String),
    /// It is a device without files.
    Block,
    /// The pod does not run.
    NotRunning(String),
    /// No container of the pod mounts it.
    NotMounted,
    /// The pod has no such volume.
    Unknown,
}

impl Reason {
    /// Whether a person should be told although nobody made a mistake: data that may have been expected is missing.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::OptedOut | Self::NotNamed | Self::Policy | Self::ClaimsLeftOut => false,
            Self::PolicyOther(_)
            | Self::ClaimNotThere
            | Self::Unbound(_)
            | Self::HostPath(_)
            | Self::Block
            | Self::NotRunning(_)
            | Self::NotMounted
            | Self::Unknown => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptedOut => write!(f, "the pod's annotation backup.velero.io/backup-volumes-excludes names it"),
            Self::NotNamed => write!(f, "no annotation backup.velero.io/backup-volumes names it"),
            Self::Policy => write!(f, "the resource policy says skip"),
            Self::PolicyOther(what) => write!(f, "the resource policy says {what}, which is not done here"),
            Self::ClaimsLeftOut => write!(f, "the backup leaves out persistentvolumeclaims"),
            Self::ClaimNotThere => write!(f, "its claim is not part of the backup"),
            Self::Unbound(phase) => write!(f, "its claim is {phase} and has no volume"),
            Self::HostPath(path) => {
                write!(f, "it is the directory {path} of a node, which is not below one that node agents read")
            }
            Self::Block => write!(f, "it is a block device, of which no files can be read"),
            Self::NotRunning(phase) => write!(f, "its pod does not run but is {phase}"),
            Self::NotMounted => write!(f, "no container of the pod mounts it"),
            Self::Unknown => write!(f, "the pod has no volume of this name"),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, pod, volume, claim, reason } = self;
        match (pod, claim) {
            (Some(pod), Some(claim)) => {
                write!(f, "volume {volume} (claim {claim}) of pod {namespace}/{pod} is not saved: {reason}")
            }
            (Some(pod), None) => write!(f, "volume {volume} of pod {namespace}/{pod} is not saved: {reason}"),
            (None, _) => write!(f, "claim {namespace}/{volume} is not saved: {reason}"),
        }
    }
}

/// What is read and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// Volumes to read, pods first in the order in which they were seen, then claims by name.
    pub tasks: Vec<VolumeTask>,
    /// Volumes that are not read.
    pub skipped: Vec<Skipped>,
    /// How many claims the backup has.
    pub claims: usize,
}

impl Selected {
    /// The sentence of a backup that has claims and reads no volume.
    pub fn warning(&self) -> Option<String> {
        let is_nothing = self.tasks.is_empty() && self.claims > 0;
        is_nothing.then(|| format!("no volume is saved although the backup has {} claims", self.claims))
    }
}

/// Decides about every volume of the pods that were seen, and about every claim.
pub fn select(seen: &Seen, settings: &Settings) -> Selected {
    let mut selection = Selection { seen, settings, selected: Selected::default(), decided: BTreeMap::new() };
    selection.selected.claims = seen.claims.len();
    seen.pods.iter().for_each(|pod| selection.pod(pod));
    seen.claims.iter().for_each(|(name, claim)| selection.claim(name, claim));
    selection.selected
}

/// What became of a claim through the pods that mount it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Its pods do not want it read.
    Refused,
    /// It is to be read, but not through a pod.
    Wanted,
    /// It is read.
    Taken,
}

struct Selection<'a> {
    seen: &'a Seen,
    settings: &'a Settings,
    selected: Selected,
    decided: BTreeMap<(String, String), Fate>,
}

impl Selection<'_> {
    fn pod(&mut self, pod: &Pod) {
        for volume in &pod.volumes {
            if let Err(reason) = self.pod_volume(pod, volume) {
                self.skip(pod, &volume.name, volume.claim.as_ref(), reason);
            }
        }
        let known: BTreeSet<&str> = pod.volumes.iter().map(|volume| volume.name.as_str()).collect();
        let named = pod.asked.iter().flatten().filter(|_| self.settings.default != Some(true));
        for name in named.chain(&pod.opted_out).filter(|name| !known.contains(name.as_str())) {
            self.skip(pod, name, None, Reason::Unknown);
        }
    }

    fn skip(&mut self, pod: &Pod, volume: &str, claim: Option<&String>, reason: Reason) {
        self.selected.skipped.push(Skipped {
            namespace: pod.namespace.clone(),
            pod: Some(pod.name.clone()),
            volume: volume.to_owned(),
            claim: claim.cloned(),
            reason,
        });
    }

    /// Decides about one volume of a pod; an error is the reason to leave it out for good.
    fn pod_volume(&mut self, pod: &Pod, volume: &PodVolume) -> Result<(), Reason> {
        if self.is_passed_over(pod, volume) {
            return Ok(());
        }
        let key = volume.claim.as_ref().map(|claim| (pod.namespace.clone(), claim.clone()));
        let claim = key.as_ref().and_then(|key| self.seen.claims.get(key));
        if let Err(reason) = self.wanted(pod, volume, claim) {
            self.decide(key, Fate::Refused);
            return Err(reason);
        }
        if let Some(key) = &key {
            if self.decided.get(key) == Some(&Fate::Taken) {
                return Ok(());
            }
            if self.settings.leaves_out_claims {
                return Err(Reason::ClaimsLeftOut);
            }
            let claim = claim.ok_or(Reason::ClaimNotThere)?;
            self.decide(Some(key.clone()), Fate::Wanted);
            // What is wrong with the claim itself is told with the claim.
            let volume_is_readable =
                self.readable(claim).is_ok_and(|volume| volume.is_none_or(|v| v.host_path.is_none()));
            if !volume_is_readable || !is_running(pod) || !volume.is_mounted {
                return Ok(());
            }
        } else if let Some(path) = &volume.host_path {
            return Err(Reason::HostPath(path.clone()));
        } else if !is_running(pod) {
            return Err(Reason::NotRunning(pod.phase.clone()));
        } else if !volume.is_mounted {
            return Err(Reason::NotMounted);
        }
        self.decide(key, Fate::Taken);
        self.selected.tasks.push(VolumeTask {
            namespace: pod.namespace.clone(),
            source: Source::Pod { name: pod.name.clone(), uid: pod.uid.clone(), node: pod.node.clone() },
            volume: volume.name.clone(),
            claim: volume.claim.clone().zip(claim.map(|claim| claim.uid.clone())),
            exclude: pod.exclude.iter().chain(claim.and_then(|claim| claim.exclude.as_ref())).cloned().collect(),
        });
        Ok(())
    }

    /// Volumes of which nobody expects that files are read, so that nothing is said of them: objects of the cluster, and
    /// what belongs to the pod or node alone, unless the pod names it or all volumes are read.
    fn is_passed_over(&self, pod: &Pod, volume: &PodVolume) -> bool {
        let volume_type = volume.properties.volume_type.as_str();
        let is_named = pod.asked.iter().flatten().any(|name| *name == volume.name);
        if OF_OBJECTS.contains(&volume_type) || volume.name.starts_with(TOKEN) {
            return true;
        }
        let counts_names = self.settings.default != Some(true);
        if volume.host_path.is_some() {
            return !(counts_names && is_named);
        }
        volume.claim.is_none() && counts_names && !is_named && self.policy(volume, None).is_none()
    }

    fn policy(&self, volume: &PodVolume, claim: Option<&Claim>) -> Option<ActionType> {
        let policy = self.settings.policy.as_ref()?;
        let found = claim.and_then(|claim| self.seen.volumes.get(&claim.volume));
        let properties = found.map_or(&volume.properties, |volume| &volume.properties).clone();
        let properties = claim.iter().fold(properties, |p, claim| p.with_claim(&claim.labels, &claim.phase));
        policy::action(policy, &properties)
    }

    /// Whether somebody wants a volume read: the policy is asked first, then annotations and the default.
    fn wanted(&self, pod: &Pod, volume: &PodVolume, claim: Option<&Claim>) -> Result<(), Reason> {
        if let Some(action) = self.policy(volume, claim) {
            return verdict(action);
        }
        let is_out = pod.opted_out.contains(&volume.name);
        let is_named = pod.asked.as_ref().map(|names| names.contains(&volume.name));
        match (self.settings.default, is_named) {
            (Some(false) | None, Some(false)) | (Some(false), None) => Err(Reason::NotNamed),
            (Some(true), _) | (None, None) if is_out => Err(Reason::OptedOut),
            (Some(true), _) | (None, None) | (Some(false) | None, Some(true)) => Ok(()),
        }
    }

    /// The volume of a claim, if its files can be read at all; none where it is not part of the backup.
    fn readable(&self, claim: &Claim) -> Result<Option<&Volume>, Reason> {
        if claim.phase != "Bound" || claim.volume.is_empty() {
            return Err(Reason::Unbound(claim.phase.clone()));
        }
        let volume = self.seen.volumes.get(&claim.volume);
        if claim.is_block || volume.is_some_and(|volume| volume.is_block) {
            return Err(Reason::Block);
        }
        let path = volume.and_then(|volume| volume.host_path.as_ref());
        match path.filter(|path| !self.is_readable(path)) {
            Some(path) => Err(Reason::HostPath(path.clone())),
            None => Ok(volume),
        }
    }

    /// Whether node agents read what lies at a path of a node.
    fn is_readable(&self, path: &str) -> bool {
        self.settings.host_paths.iter().any(|base| Path::new(path).starts_with(base))
    }

    fn decide(&mut self, key: Option<(String, String)>, fate: Fate) {
        if let Some(key) = key {
            let before = self.decided.entry(key).or_insert(fate);
            *before = fate.max(*before);
        }
    }

    /// Decides about a claim when all pods were asked.
    fn claim(&mut self, key: &(String, String), claim: &Claim) {
        let fate = self.decided.get(key).copied();
        let found = match fate {
            // Where it was refused, each pod that mounts it has said why.
            Some(Fate::Taken | Fate::Refused) => return,
            Some(Fate::Wanted) => self.readable(claim),
            None => self.wanted_alone(claim).and_then(|()| self.readable(claim)),
        };
        let (namespace, name) = key.clone();
        match found {
            Ok(volume) => {
                let readable = volume.filter(|volume| volume.path().is_some_and(|path| self.is_readable(path)));
                let source = readable.map_or(Source::Held, |volume| Source::Claim { node: volume.node.clone() });
                self.selected.tasks.push(VolumeTask {
                    namespace,
                    source,
                    volume: name.clone(),
                    claim: Some((name, claim.uid.clone())),
                    exclude: claim.exclude.iter().cloned().collect(),
                });
            }
            Err(reason) => self.selected.skipped.push(Skipped {
                namespace,
                pod: None,
                volume: name.clone(),
                claim: Some(name),
                reason,
            }),
        }
    }

    /// A claim that no pod of the backup mounts.
    fn wanted_alone(&self, claim: &Claim) -> Result<(), Reason> {
        let volume = self.seen.volumes.get(&claim.volume);
        let properties = volume.map(|volume| volume.properties.clone()).unwrap_or_default();
        let properties = properties.with_claim(&claim.labels, &claim.phase);
        let action = self.settings.policy.as_ref().and_then(|policy| policy::action(policy, &properties));
        match (action, self.settings.default) {
            (Some(action), _) => verdict(action),
            (None, Some(false)) => Err(Reason::NotNamed),
            (None, Some(true) | None) => Ok(()),
        }
    }
}

fn verdict(action: ActionType) -> Result<(), Reason> {
    match action {
        ActionType::FsBackup => Ok(()),
        ActionType::Skip => Err(Reason::Policy),
        ActionType::Snapshot => Err(Reason::PolicyOther("snapshot")),
        ActionType::Custom => Err(Reason::PolicyOther("custom")),
    }
}

fn is_running(pod: &Pod) -> bool {
    pod.phase == "Running" && !pod.node.is_empty()
}

#[cfg(test)]
mod tests;
