//! The program as a user runs it: what it prints, writes and ends with.

mod encrypted;
mod flow;
mod interrupted;
mod machine;
mod places;
mod refusals;
mod small_disks;
