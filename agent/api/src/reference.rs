//! References from one object to another, with the fields that Velero's definitions give them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

/// An object, by as many of its properties as are known. Source: Kubernetes core/v1 `ObjectReference`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ObjectReference {
    /// API version of the object.
    pub api_version: Option<String>,
    /// Part of the object, such as `spec.containers{name}`.
    pub field_path: Option<String>,
    /// Kind of the object.
    pub kind: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// Namespace of the object.
    pub namespace: Option<String>,
    /// The version of the object that is meant.
    pub resource_version: Option<String>,
    /// UID of the object.
    pub uid: Option<String>,
}

/// An object in the same namespace. Source: Kubernetes core/v1 `TypedLocalObjectReference`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LocalReference {
    /// Group of the kind; absent for the core group.
    pub api_group: Option<String>,
    /// Kind of the object; Velero compares it without regard to case.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// One key of a Secret in the same namespace. Source: Kubernetes core/v1 `SecretKeySelector`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretKey {
    /// The key within the Secret.
    pub key: String,
    /// Name of the Secret.
    #[serde(default)]
    pub name: String,
    /// Whether the Secret or its key may be absent.
    pub optional: Option<bool>,
}
