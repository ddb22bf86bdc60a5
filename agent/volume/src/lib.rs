//! Files of a Linux volume to rows and tar members of a repository, and back.
//!
//! Reading, framing and restoring of files live here; packs, tables and stores are the `repository` crate's work.

pub mod acl;
pub mod backup;
mod beneath;
pub mod links;
pub mod member;
pub mod read;
pub mod restore;
pub mod target;
pub mod unchanged;
pub mod walk;
mod xattr;
