//! Which namespaces and kinds a Backup or Restore takes: lists of what is included and excluded, with patterns.
//!
//! Kinds are compared as `resource.group` (`pods`, `deployments.apps`). To find that full name for what a user wrote
//! (`deploy`, `po`) needs a cluster, so it is done before these rules are asked.

use globset::{GlobBuilder, GlobMatcher};

use crate::backup::BackupSpec;

/// The full name of the kind Namespace, which the scoped lists take without being asked.
const NAMESPACES: &str = "namespaces";

/// What stands for everything.
const EVERYTHING: &str = "*";

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?} cannot be read: {why}")]
pub struct Error {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// Names of which some are included and some excluded. Exclusion wins; where nothing is included, everything is.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    included: Vec<Pattern>,
    excluded: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    /// `*` any text, `?` any character, `[abc]` one of some, `{a,b}` one of some texts. No character is a separator.
    fn new(text: &str) -> Result<Self, Error> {
        let glob = GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build();
        let glob = glob.map_err(|e| Error { pattern: text.to_owned(), why: e.kind().to_string() })?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }
}

fn patterns(list: Option<&[String]>) -> Result<Vec<Pattern>, Error> {
    list.unwrap_or_default().iter().map(|text| Pattern::new(text)).collect()
}

fn any(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matcher.is_match(name))
}

fn says_everything(patterns: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| pattern.text == EVERYTHING)
}

impl Selection {
    /// From two lists as they stand in a spec; an absent list is empty.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn new(included: Option<&[String]>, excluded: Option<&[String]>) -> Result<Self, Error> {
        Ok(Self { included: patterns(included)?, excluded: patterns(excluded)? })
    }

    /// Whether a name is taken.
    pub fn has(&self, name: &str) -> bool {
        !any(&self.excluded, name) && (self.included.is_empty() || any(&self.included, name))
    }

    /// Whether every name is taken, known or not: nothing is excluded, and at most `*` is included.
    ///
    /// Source: Velero `pkg/util/collections/includes_excludes.go`, `IncludeEverything`.
    pub fn is_everything(&self) -> bool {
        let all = match &self.included[..] {
            [] => true,
            [only] => only.text == EVERYTHING,
            _ => false,
        };
        all && self.excluded.is_empty()
    }
}

/// Which kinds of objects a Backup takes by itself; what restored objects need comes besides.
#[derive(Debug, Clone)]
pub enum Kinds {
    /// By `includedResources`, `excludedResources` and `includeClusterResources`.
    Unscoped {
        /// The two lists.
        kinds: Selection,
        /// Whether cluster-scoped objects are taken; where it is not said, they are if all namespaces are.
        cluster: Option<bool>,
    },
    /// By the four lists that tell objects in namespaces from cluster-scoped ones.
    Scoped {
        /// Kinds in namespaces.
        namespaced: Selection,
        /// Cluster-scoped kinds.
        cluster: Selection,
    },
}

impl Kinds {
    /// What a Backup's spec says. Where it says nothing, the scoped lists are meant.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn of(spec: &BackupSpec) -> Result<Self, Error> {
        if uses_unscoped(spec) {
            let kinds = Selection::new(spec.included_resources.as_deref(), spec.excluded_resources.as_deref())?;
            return Ok(Self::Unscoped { kinds, cluster: spec.include_cluster_resources });
        }
        Ok(Self::Scoped {
            namespaced: Selection::new(
                spec.included_namespace_scoped_resources.as_deref(),
                spec.excluded_namespace_scoped_resources.as_deref(),
            )?,
            cluster: Selection::new(
                spec.included_cluster_scoped_resources.as_deref(),
                spec.excluded_cluster_scoped_resources.as_deref(),
            )?,
        })
    }

    /// Whether objects of a kind in namespaces are taken.
    pub fn has_namespaced(&self, kind: &str) -> bool {
        match self {
            Self::Unscoped { kinds, .. } => kinds.has(kind),
            Self::Scoped { namespaced, .. } => namespaced.has(kind),
        }
    }

    /// Whether objects of a cluster-scoped kind are taken, given the namespaces that are.
    ///
    /// Source: Velero `pkg/util/collections/includes_excludes.go`, `ShouldInclude` of both filters.
    pub fn has_cluster_scoped(&self, kind: &str, namespaces: &Selection) -> bool {
        match self {
            Self::Unscoped { cluster: Some(false), .. } => false,
            Self::Unscoped { cluster: None, kinds } => {
                (kind == NAMESPACES || namespaces.is_everything()) && kinds.has(kind)
            }
            Self::Unscoped { cluster: Some(true), kinds } => kinds.has(kind),
            Self::Scoped { namespaced, cluster } => {
                if says_everything(&cluster.excluded) || any(&cluster.excluded, kind) {
                    return false;
                }
                let is_unsaid = cluster.included.is_empty() && cluster.excluded.is_empty();
                let is_full = is_unsaid && namespaces.is_everything() && namespaced.is_everything();
                is_full || kind == NAMESPACES || any(&cluster.included, kind)
            }
        }
    }

    /// Whether objects of a cluster-scoped kind stay out even where an object that is taken needs them.
    ///
    /// Source: Velero `pkg/util/collections/includes_excludes.go`, `ShouldExclude` of both filters.
    pub fn refuses_cluster_scoped(&self, kind: &str) -> bool {
        match self {
            Self::Unscoped { cluster: Some(false), .. } => true,
            Self::Unscoped { cluster: Some(true), kinds } => any(&kinds.excluded, kind),
            Self::Unscoped { cluster: None, kinds } => !kinds.has(kind),
            Self::Scoped { cluster, .. } => any(&cluster.excluded, kind),
        }
    }
}

/// Whether a spec uses the older, unscoped lists.
pub fn uses_unscoped(spec: &BackupSpec) -> bool {
    spec.include_cluster_resources.is_some()
        || says(spec.included_resources.as_ref())
        || says(spec.excluded_resources.as_ref())
}

/// Whether a spec uses the scoped lists.
pub fn uses_scoped(spec: &BackupSpec) -> bool {
    [
        spec.included_cluster_scoped_resources.as_ref(),
        spec.excluded_cluster_scoped_resources.as_ref(),
        spec.included_namespace_scoped_resources.as_ref(),
        spec.excluded_namespace_scoped_resources.as_ref(),
    ]
    .into_iter()
    .any(says)
}

fn says(list: Option<&Vec<String>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Option<Vec<String>> {
        (!text.is_empty()).then(|| text.split(' ').map(str::to_owned).collect())
    }

    fn selection(included: &str, excluded: &str) -> Selection {
        Selection::new(list(included).as_deref(), list(excluded).as_deref()).unwrap()
    }

    #[test]
    fn exclusion_wins_and_no_inclusion_means_all() {
        let rows = [
            ("", "", "any", true),
            ("*", "", "any", true),
            ("a", "", "b", false),
            ("*", "b", "b", false),
            ("ns-*", "", "ns-1", true),
            ("ns-*", "ns-1", "ns-1", false),
            ("ns-*", "", "other", false),
            ("ns-?", "", "ns-12", false),
            ("ns-[ab]", "", "ns-b", true),
            ("*.velero.io", "", "backups.velero.io", true),
            ("", "kube-*", "kube-system", false),
        ];
        for (included, excluded, name, expected) in rows {
            assert_eq!(selection(included, excluded).has(name), expected, "+{included} -{excluded} {name}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        let error = Selection::new(Some(&["ns-[a".to_owned()]), None).unwrap_err();
        assert_eq!(error.pattern, "ns-[a");
    }

    fn kinds(spec: &BackupSpec) -> Kinds {
        Kinds::of(spec).unwrap()
    }

    #[test]
    fn cluster_scoped_objects_come_by_themselves_only_with_all_namespaces() {
        let (all, some, but_one) = (selection("*", ""), selection("app", ""), selection("*", "kube-system"));
        let taken = |kinds: &Kinds| {
            [&all, &some, &but_one]
                .map(|namespaces| kinds.has_cluster_scoped("storageclasses.storage.k8s.io", namespaces))
        };
        let unscoped = |cluster| Kinds::Unscoped { kinds: Selection::default(), cluster };
        assert_eq!(taken(&unscoped(None)), [true, false, false]);
        assert_eq!(taken(&unscoped(Some(true))), [true; 3]);
        assert_eq!(taken(&unscoped(Some(false))), [false; 3]);
        assert_eq!(taken(&kinds(&BackupSpec::default())), [true, false, false]);
        let listed = list("storageclasses.storage.k8s.io");
        let included = BackupSpec { included_cluster_scoped_resources: listed.clone(), ..BackupSpec::default() };
        assert_eq!(taken(&kinds(&included)), [true; 3]);
        let excluded = BackupSpec { excluded_cluster_scoped_resources: listed, ..BackupSpec::default() };
        assert_eq!(taken(&kinds(&excluded)), [false; 3]);
        let narrowed = BackupSpec { included_namespace_scoped_resources: list("pods"), ..BackupSpec::default() };
        assert_eq!(taken(&kinds(&narrowed)), [false; 3]);
    }

    #[test]
    fn namespaces_themselves_are_taken_unless_they_are_excluded() {
        let some = selection("app", "");
        let rows = [
            (BackupSpec::default(), true),
            (BackupSpec { excluded_cluster_scoped_resources: list("namespaces"), ..BackupSpec::default() }, false),
            (BackupSpec { excluded_cluster_scoped_resources: list("*"), ..BackupSpec::default() }, false),
            (BackupSpec { included_resources: list("pods"), ..BackupSpec::default() }, false),
            (BackupSpec { include_cluster_resources: Some(false), ..BackupSpec::default() }, false),
        ];
        for (spec, expected) in rows {
            assert_eq!(kinds(&spec).has_cluster_scoped("namespaces", &some), expected, "{spec:?}");
        }
    }
}
