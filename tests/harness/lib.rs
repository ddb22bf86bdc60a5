//! What the tests of more than one room share: foreign programs and whole clusters, built and run. No promises are tested here.

pub mod api_server;
pub mod application;
pub mod audit;
pub mod built;
pub mod cluster;
pub mod control_plane;
pub mod deployment;
pub mod flux;
pub mod image;
pub mod installation;
pub mod kubectl;
pub mod minio;
pub mod nix;
pub mod pki;
pub mod prerequisites;
pub mod program;
pub mod rights;
pub mod tools;
pub mod velero;
pub mod wait;
