//! A backup that is killed leaves nothing behind that the next one minds.

use std::os::unix::process::ExitStatusExt as _;

use crate::machine::{Machine, noise};

/// Four packs: enough that the first is stored long before the last is made.
const FILES: u64 = 16;
const FILE_BYTES: usize = 4 << 20;
/// A machine that is fast enough to finish first is asked again.
const TRIES: usize = 10;

#[test]
fn after_a_kill_the_next_run_finishes_and_restores() {
    let machine = Machine::new();
    for n in 0..FILES {
        machine.write(&format!("src/{n}"), noise(FILE_BYTES, n + 1));
    }
    let mut killed = None;
    for _ in 0..TRIES {
        let _ = std::fs::remove_dir_all(machine.path("data"));
        let _ = std::fs::remove_dir_all(machine.path("state"));
        let mut child = machine.command(&["-q", "volume", "backup", "src"]).spawn().expect("the program starts");
        while machine.objects("v1/p").is_empty() && child.try_wait().expect("a status").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("a kill");
        killed = child.wait().expect("an end").signal();
        if killed.is_some() {
            break;
        }
    }
    assert_eq!(killed, Some(9), "the backup always ends before its first pack is seen");
    assert_eq!(machine.json(&["volume", "list"]), serde_json::json!([]));
    let snapshot = machine.back_up(&["src"]);
    machine.succeed(&["volume", "restore", &snapshot, "out"]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
    assert_eq!(machine.succeed(&["repo", "prune", "--dry-run"]), "nothing to prune\n");
}
