//! Bindings of rights and webhooks.

use serde_json::Value;

use crate::{
    kind::text,
    restore::{
        edit::{each, set},
        rules::Rules,
    },
};

/// Subjects follow their namespaces. Source: Velero `pkg/restore/actions/rolebinding_action.go`.
pub(super) fn move_subjects(binding: &mut Value, rules: &Rules) {
    for subject in each(binding, "/subjects") {
        let Some(namespace) = subject["namespace"].as_str() else { continue };
        let target = rules.target(namespace).to_owned();
        set(subject, "", "namespace", Value::String(target));
    }
}

/// A webhook in version v1 may not have side effects that nobody knows, which older versions allowed.
///
/// Source: Velero `pkg/restore/actions/admissionwebhook_config_action.go`.
pub(super) fn webhooks(configuration: &mut Value) {
    if !text(&configuration["apiVersion"]).ends_with("/v1") {
        return;
    }
    for webhook in each(configuration, "/webhooks") {
        if matches!(text(&webhook["sideEffects"]), "Unknown" | "Some") {
            set(webhook, "", "sideEffects", Value::String("None".to_owned()));
        }
    }
}
