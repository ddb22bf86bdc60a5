//! Files below `nix/generated` that the program could print: they are what it prints today.

use trysail_api::crds;

use super::{check, tree::text};

#[test]
fn the_definitions_that_the_modules_install_are_those_of_the_program() {
    let definitions = crds::all().expect("definitions can be made");
    let stale = definitions.iter().filter_map(|definition| {
        let path = format!("nix/generated/{}.json", definition.metadata.name.as_deref().unwrap_or_default());
        let printed = serde_json::to_string_pretty(definition).expect("a definition is JSON");
        (text(&path) != format!("{printed}\n")).then_some(path)
    });
    check("These differ from what `trysail crds` prints; write them anew:", stale);
}
