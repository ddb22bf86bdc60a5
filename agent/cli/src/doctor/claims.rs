//! Claims that no schedule takes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;
use trysail_api::{
    backup::BackupSpec,
    names::label,
    schedule::{Schedule, SchedulePhase},
    selection::{Kinds, Selection},
    selector::selects,
};

use super::{Hazard, Weight, hazard};

/// The kind of claims, as lists of kinds name it.
const CLAIMS: &str = "persistentvolumeclaims";

/// Claims that are in no schedule that runs, by namespace. Those that say themselves that they are left out are not told.
pub(super) fn unprotected(claims: &[PersistentVolumeClaim], schedules: &[Schedule]) -> Vec<Hazard> {
    let runs = |schedule: &&Schedule| {
        let phase = schedule.status.as_ref().and_then(|status| status.phase);
        schedule.spec.paused != Some(true) && phase != Some(SchedulePhase::FailedValidation)
    };
    let templates: Vec<&BackupSpec> = schedules.iter().filter(runs).map(|schedule| &schedule.spec.template).collect();
    let mut bare: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for claim in claims {
        let is_left_out = claim.labels().get(label::EXCLUDE_FROM_BACKUP).is_some_and(|value| value == "true");
        if !is_left_out && !templates.iter().any(|template| takes(template, claim)) {
            bare.entry(claim.namespace().unwrap_or_default()).or_default().push(claim.name_any());
        }
    }
    bare.into_iter().map(|(namespace, claims)| tell(&namespace, &claims)).collect()
}

fn tell(namespace: &str, claims: &[String]) -> Hazard {
    let remedy = format!("trysail schedule create {namespace} --schedule @daily --include-namespaces {namespace}");
    let finding = format!("no schedule takes these claims: {}", claims.join(", "));
    hazard(Weight::Unsafe, format!("namespace/{namespace}"), finding, remedy)
}

/// Whether a backup of this spec takes a claim. What cannot be understood takes none.
fn takes(spec: &BackupSpec, claim: &PersistentVolumeClaim) -> bool {
    let namespaces = Selection::new(spec.included_namespaces.as_deref(), spec.excluded_namespaces.as_deref());
    let is_in = namespaces.is_ok_and(|namespaces| namespaces.has(&claim.namespace().unwrap_or_default()));
    let is_kind = Kinds::of(spec).is_ok_and(|kinds| kinds.has_namespaced(CLAIMS));
    let any = spec.or_label_selectors.as_deref().unwrap_or_default();
    is_in && is_kind && selects(spec.label_selector.as_ref(), any, claim.labels()).unwrap_or(false)
}
