//! The program as a user runs it: what it prints, writes and ends with.

mod definitions;
mod encrypted;
mod flow;
mod interrupted;
mod machine;
mod places;
mod refusals;
mod requests;
mod secrets;
mod server;
mod small_disks;
mod terminal;
mod tls;
