//! How many requests a run sends: each costs money, and time on a slow line.

use crate::{machine::Machine, server::Server};

/// Requests of a run in which nothing changed.
const NO_CHANGE_MAX: usize = 12;

/// Made with `age-keygen` for these tests.
const RECIPIENT: &str = "age1vlmpkzya5v05qtf4r5tvuj3dxuhysn2f0f4uqx62ntmuufr6dy6ssddgls";

/// The sources of this package are older than its build, so that nothing in them counts as just changed.
#[test]
fn a_run_without_changes_stays_within_its_requests_and_fetches_nothing_twice() {
    for recipient in [&[][..], &["--recipient", RECIPIENT]] {
        let machine = Machine::new();
        let server = Server::start(&machine, None);
        let url = server.url("");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let backup = ["volume", "backup", source, "--volume", "sources", "--repo", &url];
        machine.succeed(&[&["-q", "repo", "init", "--repo", &url], recipient].concat());
        machine.succeed(&backup);
        server.take_requests();
        // The first one refers to packs of the session before; the next one finds them in its base's own table.
        for _ in 0..2 {
            let done = machine.json(&backup);
            let mut requests = server.take_requests();
            assert_eq!(done["commit"]["bytes"]["read"], 0);
            assert!(requests.len() <= NO_CHANGE_MAX, "{requests:#?}");
            let all = requests.len();
            requests.sort();
            requests.dedup();
            assert_eq!(requests.len(), all, "one of them was sent twice: {requests:#?}");
        }
    }
}
