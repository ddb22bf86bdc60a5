//! Kubernetes objects in, Velero's archive out.
//!
//! [`collect`](collect::collect) reads the objects of a backup and hands them on one at a time; [`archive`] writes and
//! reads the file in which they lie; [`volumes::select`] decides from the same objects which volumes are read; [`hooks`]
//! are the commands that run in pods meanwhile. The rules are pure ([`select`], [`order`], [`strip`], [`volumes`],
//! [`archive`], most of [`hooks`]); the API server is asked in [`discover`](mod@discover), [`collect`](mod@collect) and
//! [`hooks::exec`] alone. Here are no files, no object store and no clock.
//!
//! ```
//! use std::sync::Arc;
//! use trysail_cluster::{archive, kind::{Item, Kind}};
//!
//! let kind = Kind {
//!     group: String::new(),
//!     version: "v1".to_owned(),
//!     kind: "ConfigMap".to_owned(),
//!     plural: "configmaps".to_owned(),
//!     is_namespaced: true,
//!     aliases: vec![],
//! };
//! let object = serde_json::json!({"metadata": {"name": "settings", "namespace": "app"}, "data": {"a": "1"}});
//! let mut writer = archive::Writer::new(Vec::new(), 0)?;
//! writer.append(Item::new(Arc::new(kind), object))?;
//! let (bytes, list) = writer.finish()?;
//! assert_eq!(serde_json::to_string(&list).unwrap(), r#"{"v1/ConfigMap":["app/settings"]}"#);
//!
//! let first = archive::Reader::new(&bytes[..]).next_item()?;
//! assert_eq!(first.unwrap().path.text(), "resources/configmaps/namespaces/app/settings.json");
//! # Ok::<(), trysail_cluster::Error>(())
//! ```

pub mod archive;
pub mod collect;
pub mod discover;
pub mod error;
pub mod hooks;
mod json;
pub mod kind;
pub mod order;
pub mod problem;
pub mod restore;
pub mod select;
pub mod strip;
pub mod volumes;

pub use error::{Class, Error, Result};
