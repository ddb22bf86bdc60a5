//! What annotations of a Restore ask of the data of volumes, and how the process that fills a volume is told. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use trysail_api::{names::own, pod_volume_restore::PodVolumeRestore, restore::Restore};

/// Longest id of `trysail.io/once`, in bytes: it is read by people, and kept on each claim.
const ONCE_BYTES_MAX: usize = 253;

/// Paths of one Restore: each is looked for in each snapshot.
const PATHS_MAX: usize = 1000;

/// What is asked of data that is restored without objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Whether volumes are written into that are not empty, or that pods write into.
    pub(crate) overwrite: bool,
    /// The id by which a claim is filled once.
    pub(crate) once: Option<String>,
    /// Paths below the roots of volumes; none means all.
    pub(crate) paths: Vec<String>,
}

impl Wish {
    /// What a Restore asks for; none where it restores objects.
    ///
    /// # Errors
    /// Sentences that each name an annotation, or a field that contradicts it.
    pub(crate) fn of(restore: &Restore) -> Result<Option<Self>, Vec<String>> {
        let value = |key: &str| restore.annotations().get(key).map(|value| value.trim());
        let mut problems = Vec::new();
        let mut flag = |key: &str| match value(key) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                problems.push(format!("annotation {key} is {other:?}; it is \"true\" or \"false\""));
                false
            }
        };
        let (is_data_only, overwrite) = (flag(own::DATA_ONLY), flag(own::OVERWRITE));
        let once = value(own::ONCE).map(str::to_owned);
        problems.extend(once.as_deref().and_then(once_problem));
        let paths = match value(own::PATHS).map(paths).transpose() {
            Ok(paths) => paths.unwrap_or_default(),
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        };
        if is_data_only {
            problems.extend(contradictions(restore));
        } else {
            let others = [own::OVERWRITE, own::ONCE, own::PATHS].into_iter().filter(|key| value(key).is_some());
            let alone = |key| format!("annotation {key} needs annotation {}: \"true\" beside it", own::DATA_ONLY);
            problems.extend(others.map(alone));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(is_data_only.then_some(Self { overwrite, once, paths }))
    }

    /// The settings of a PodVolumeRestore that say the same.
    pub(crate) fn settings(&self) -> Option<BTreeMap<String, String>> {
        let overwrite = self.overwrite.then(|| (own::OVERWRITE.to_owned(), "true".to_owned()));
        let paths = (!self.paths.is_empty()).then(|| (own::PATHS.to_owned(), self.paths.join("\n")));
        let settings: BTreeMap<String, String> = overwrite.into_iter().chain(paths).collect();
        (!settings.is_empty()).then_some(settings)
    }

    /// What the settings of a PodVolumeRestore say.
    pub(crate) fn of_settings(transfer: &PodVolumeRestore) -> Self {
        let setting = |key: &str| transfer.spec.uploader_settings.as_ref().and_then(|settings| settings.get(key));
        let paths = setting(own::PATHS).into_iter().flat_map(|text| text.split('\n')).map(str::to_owned);
        Self {
            overwrite: setting(own::OVERWRITE).map(String::as_str) == Some("true"),
            once: None,
            paths: paths.collect(),
        }
    }
}

/// What is wrong with what the annotations of a Restore ask for.
pub(super) fn problems(restore: &Restore) -> Vec<String> {
    Wish::of(restore).err().unwrap_or_default()
}

fn once_problem(id: &str) -> Option<String> {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_graphic());
    if !id.is_empty() && id.len() <= ONCE_BYTES_MAX && is_plain {
        return None;
    }
    Some(format!(
        "annotation {} is {id:?}; it is an id of 1 to {ONCE_BYTES_MAX} ASCII characters without spaces",
        own::ONCE
    ))
}

/// Paths with line ends or commas between, as rows have them: without slashes at their ends.
fn paths(text: &str) -> Result<Vec<String>, String> {
    let wrong = |what: &str| format!("annotation {}: {what}", own::PATHS);
    let mut paths = Vec::new();
    for path in text.split(['\n', ',']).map(str::trim).filter(|path| !path.is_empty()) {
        let plain = path.strip_prefix("./").unwrap_or(path).trim_matches('/');
        if plain.is_empty() || plain.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(wrong(&format!("{path:?} is no path below the root of a volume")));
        }
        paths.push(plain.to_owned());
    }
    match paths.len() {
        0 => Err(wrong("it names no path; without it, all is restored")),
        count if count > PATHS_MAX => Err(wrong(&format!("{count} paths, at most {PATHS_MAX}"))),
        _ => Ok(paths),
    }
}

/// Fields and annotations that ask for what a restore without objects does not do.
fn contradictions(restore: &Restore) -> Vec<String> {
    let spec = &restore.spec;
    let mut problems = Vec::new();
    if spec.restore_pvs == Some(false) {
        problems.push(format!("annotation {} restores volumes alone, and spec.restorePVs is false", own::DATA_ONLY));
    }
    if spec.hooks.as_ref().and_then(|hooks| hooks.resources.as_ref()).is_some_and(|hooks| !hooks.is_empty()) {
        problems.push(format!("annotation {} restores no pods, in which spec.hooks could run", own::DATA_ONLY));
    }
    if restore.annotations().contains_key(own::SERVICE_ACCOUNT) {
        let (account, data) = (own::SERVICE_ACCOUNT, own::DATA_ONLY);
        problems.push(format!("annotation {account} bounds which objects are made, and {data} makes none: who may fill a claim, it cannot say"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn restore(annotations: &Value, spec: &Value) -> Restore {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": "r1", "annotations": annotations },
            "spec": spec,
        }))
        .unwrap()
    }

    fn wish(annotations: &Value) -> Result<Option<Wish>, Vec<String>> {
        Wish::of(&restore(annotations, &json!({})))
    }

    #[test]
    fn annotations_say_what_is_wanted() {
        assert_eq!(wish(&json!({})), Ok(None));
        assert_eq!(wish(&json!({ "trysail.io/data-only": "false" })), Ok(None));
        assert_eq!(wish(&json!({ "trysail.io/data-only": "true" })), Ok(Some(Wish::default())));
        let all = json!({
            "trysail.io/data-only": "true", "trysail.io/overwrite": "true", "trysail.io/once": "2026-11",
            "trysail.io/paths": "/db/, ./config/app.yaml\n photos/2024 \n",
        });
        let paths = ["db", "config/app.yaml", "photos/2024"].map(str::to_owned).to_vec();
        assert_eq!(wish(&all), Ok(Some(Wish { overwrite: true, once: Some("2026-11".to_owned()), paths })));
    }

    #[test]
    fn the_process_that_fills_a_volume_is_told_the_same() {
        let paths = ["db", "a b"].map(str::to_owned).to_vec();
        for wish in [Wish::default(), Wish { overwrite: true, once: None, paths }] {
            let mut transfer =
                PodVolumeRestore::new("x", trysail_api::pod_volume_restore::PodVolumeRestoreSpec::default());
            transfer.spec.uploader_settings = wish.settings();
            assert_eq!(Wish::of_settings(&transfer), wish);
        }
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_annotation() {
        let rows = [
            (
                json!({ "trysail.io/data-only": "yes" }),
                "annotation trysail.io/data-only is \"yes\"; it is \"true\" or \"false\"",
            ),
            (
                json!({ "trysail.io/data-only": "true", "trysail.io/overwrite": "1" }),
                "annotation trysail.io/overwrite is \"1\"; it is \"true\" or \"false\"",
            ),
            (
                json!({ "trysail.io/data-only": "true", "trysail.io/once": "a b" }),
                "annotation trysail.io/once is \"a b\"; it is an id of 1 to 253 ASCII characters without spaces",
            ),
            (
                json!({ "trysail.io/data-only": "true", "trysail.io/paths": "../x" }),
                "annotation trysail.io/paths: \"../x\" is no path below the root of a volume",
            ),
            (
                json!({ "trysail.io/data-only": "true", "trysail.io/paths": " \n," }),
                "annotation trysail.io/paths: it names no path; without it, all is restored",
            ),
            (
                json!({ "trysail.io/once": "a" }),
                "annotation trysail.io/once needs annotation trysail.io/data-only: \"true\" beside it",
            ),
        ];
        for (annotations, expected) in rows {
            assert_eq!(wish(&annotations), Err(vec![expected.to_owned()]));
        }
    }

    #[test]
    fn a_spec_that_contradicts_it_is_refused() {
        let spec = json!({ "restorePVs": false, "hooks": { "resources": [{ "name": "h" }] } });
        let found = Wish::of(&restore(&json!({ "trysail.io/data-only": "true" }), &spec));
        let expected = [
            "annotation trysail.io/data-only restores volumes alone, and spec.restorePVs is false",
            "annotation trysail.io/data-only restores no pods, in which spec.hooks could run",
        ];
        assert_eq!(found, Err(expected.map(str::to_owned).to_vec()));
        let annotations = json!({ "trysail.io/data-only": "true", "trysail.io/service-account": "restorer" });
        let expected = "annotation trysail.io/service-account bounds which objects are made, and trysail.io/data-only makes none: \
                        who may fill a claim, it cannot say";
        assert_eq!(Wish::of(&restore(&annotations, &json!({}))), Err(vec![expected.to_owned()]));
    }
}
