//! Crates of ours and of others: who may know whom, under which licences, and that nothing is brought in vain.

use std::{
    env,
    path::{Component, Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use super::{
    check,
    tree::{Text, root, text, texts},
};

/// Which of our crates may know which others. A crate that is not here may not exist.
const EDGES: [(&str, &[&str]); 8] = [
    ("trysail-api", &[]),
    ("trysail-repository", &[]),
    ("trysail-sops", &[]),
    ("trysail-volume", &["trysail-repository"]),
    ("trysail-cluster", &["trysail-api"]),
    ("trysail-controller", &["trysail-api", "trysail-cluster", "trysail-repository", "trysail-volume"]),
    (
        "trysail-cli",
        &[
            "trysail-api",
            "trysail-cluster",
            "trysail-controller",
            "trysail-repository",
            "trysail-sops",
            "trysail-volume",
        ],
    ),
    (
        "trysail-tests",
        &["trysail-api", "trysail-cli", "trysail-cluster", "trysail-repository", "trysail-sops", "trysail-volume"],
    ),
];

/// Libraries that a crate must not know, because another crate's work would creep into it.
const STRANGERS: [(&str, &[&str]); 6] = [
    ("trysail-api", &["anyhow", "clap", "reqwest", "rust-s3", "rustix", "tokio"]),
    ("trysail-cluster", &["age", "anyhow", "clap", "fastcdc", "rust-s3", "rustix", "zstd"]),
    ("trysail-controller", &["anyhow", "clap", "reqwest", "rust-s3", "tar"]),
    ("trysail-repository", &["anyhow", "clap", "k8s-openapi", "kube", "tar"]),
    ("trysail-sops", &["anyhow", "clap", "k8s-openapi", "kube", "tokio"]),
    ("trysail-volume", &["age", "anyhow", "clap", "k8s-openapi", "kube", "reqwest", "rust-s3"]),
];

/// Libraries that must not come in, not even through others, and why.
const UNWANTED: [(&str, &str); 3] = [
    ("libssh2-sys", "a C library of the machine, which a static program cannot have"),
    ("native-tls", "TLS is rustls: one implementation, with certificate roots of our own"),
    ("openssl-sys", "a C library of the machine, which a static program cannot have"),
];

/// Licences under which a library may be part of a program under Apache-2.0. MPL-2.0 asks nothing of users of unchanged files.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// What cargo knows of all packages that a build on this machine takes.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform"])
            .arg(format!("{}-unknown-linux-{libc}", env::consts::ARCH))
            .current_dir(root())
            .output()
            .expect("cargo runs, since it runs this test");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
    })
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Packages of others and of ours.
fn packages() -> &'static [Value] {
    list(metadata(), "packages")
}

/// Our own packages.
fn ours() -> impl Iterator<Item = &'static Value> {
    packages().iter().filter(|p| p["source"].is_null())
}

/// Names of what a package depends on; with those of its tests, or without.
fn dependencies(package: &'static Value, with_tests: bool) -> impl Iterator<Item = &'static str> {
    let all = list(package, "dependencies").iter();
    all.filter(move |d| with_tests || string(d, "kind") != "dev").map(|d| string(d, "name"))
}

#[test]
fn crates_know_only_those_they_may_know() {
    let offences = ours().flat_map(|package| {
        let name = string(package, "name");
        let allowed = EDGES.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
        let new = allowed.is_none().then(|| format!("{name} has no row in EDGES"));
        let known = dependencies(package, true).filter(move |to| to.starts_with("trysail-") && *to != name);
        let wrong = known.filter(move |to| !allowed.unwrap_or_default().contains(to));
        wrong.map(move |to| format!("{name} knows {to}")).chain(new)
    });
    check("Against the direction of dependencies:", offences);
}

#[test]
fn crates_do_not_know_libraries_of_another_crates_work() {
    let offences = ours().flat_map(|package| {
        let name = string(package, "name");
        let row = STRANGERS.iter().find(|(of, _)| *of == name);
        let strangers = row.map_or(&[][..], |(_, strangers)| *strangers);
        let known = dependencies(package, false).filter(move |library| strangers.contains(library));
        known.map(move |library| format!("{name} knows {library}"))
    });
    check("A library in the wrong crate:", offences);
}

#[test]
fn unwanted_libraries_stay_out() {
    let offences = packages().iter().filter_map(|package| {
        let name = string(package, "name");
        let row = UNWANTED.iter().find(|(unwanted, _)| *unwanted == name);
        row.map(|(_, why)| format!("{name}: {why} (`cargo tree -i {name}` says who brings it)"))
    });
    check("Unwanted libraries:", offences);
}

#[test]
fn all_libraries_come_from_a_registry_and_none_from_a_branch_or_path() {
    let sources = packages().iter().filter(|p| p["source"].as_str().is_some_and(|s| !s.starts_with("registry+")));
    check("Not from a registry:", sources.map(|p| string(p, "id").to_owned()));
}

/// Whether a licence expression (SPDX, or with the old `/` for OR) can be met with allowed licences.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    let allowed = any_of(&mut tokens);
    allowed && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(tokens: &mut Tokens<'_>) -> bool {
    let mut any = all_of(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        any |= all_of(tokens);
    }
    any
}

fn all_of(tokens: &mut Tokens<'_>) -> bool {
    let mut all = one(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        all &= one(tokens);
    }
    all
}

fn one(tokens: &mut Tokens<'_>) -> bool {
    let Some(token) = tokens.next() else { return false };
    if token == "(" {
        let inner = any_of(tokens);
        return tokens.next() == Some(")") && inner;
    }
    // An exception only permits more.
    if tokens.next_if_eq(&"WITH").is_some() {
        tokens.next();
    }
    LICENCES.contains(&token)
}

#[test]
fn licence_expressions_are_understood() {
    let meant = [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT/GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND ISC", true),
        ("MIT AND (GPL-3.0-only OR LGPL-2.1-only)", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("", false),
        ("(MIT", false),
    ];
    for (expression, allowed) in meant {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}

#[test]
fn every_library_has_a_licence_that_ours_agrees_with() {
    let offences = packages().iter().filter(|p| !is_allowed(string(p, "license")));
    let named = offences.map(|p| format!("{} {}: {}", string(p, "name"), string(p, "version"), p["license"]));
    check("A licence that is not in LICENCES:", named);
}

/// Lines of the workspace's list of dependencies, each with the line before it.
fn listed() -> impl Iterator<Item = (&'static str, &'static str)> {
    let body = text("Cargo.toml").split("[workspace.dependencies]\n").nth(1).expect("the workspace lists dependencies");
    let section = body.split("\n[").next().unwrap_or(body);
    section.lines().zip(section.lines().skip(1)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn name_of(line: &str) -> &str {
    line.split(['=', '.']).next().unwrap_or(line).trim()
}

#[test]
fn every_library_says_in_a_sentence_what_it_is_for() {
    let foreign = listed().filter(|(_, line)| !line.starts_with("trysail-"));
    let silent = foreign.filter(|(before, _)| !(before.starts_with("# ") && before.ends_with('.')));
    check("No sentence before the line in Cargo.toml:", silent.map(|(_, line)| line.to_owned()));
}

#[test]
fn every_listed_library_is_taken_by_a_crate() {
    let taken: Vec<&str> = ours().flat_map(|package| dependencies(package, true)).collect();
    let idle = listed().map(|(_, line)| name_of(line)).filter(|name| !taken.contains(name));
    check("In the workspace's list, and in no crate's:", idle.map(str::to_owned));
}

#[test]
fn versions_stand_in_the_workspace_alone() {
    // A workspace of its own (that of fuzzing) has no list to take them from.
    let manifests = texts().iter().filter(|t| t.path.ends_with("/Cargo.toml") && !t.body.contains("\n[workspace]"));
    let offences = manifests.flat_map(|t| {
        let sections = t.body.split("\n[").filter(|s| s.split(']').next().is_some_and(|s| s.ends_with("dependencies")));
        let lines = sections.flat_map(|s| s.lines().skip(1)).filter(|l| l.contains('=') && !l.starts_with('#'));
        let own = lines.filter(|l| !l.contains("workspace = true") && !l.contains("path = \".\""));
        own.map(|line| format!("{}: {line}", t.path))
    });
    check("Versions belong into [workspace.dependencies]:", offences);
}

/// Whether code names a library: `library::…`, `::library::…`, or `use library;`.
fn names(code: &str, library: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.match_indices(library).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + library.len()..]);
        let begins = !before.strip_suffix("::").unwrap_or(before).ends_with(is_word);
        begins && (after.starts_with("::") || before.ends_with("use ") && after.starts_with([';', ' ']))
    })
}

/// Files elsewhere that code below a directory takes in by `#[path = "…"]`.
fn taken_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let code = texts().iter().filter(move |t| t.is("rs") && Path::new(&t.path).starts_with(directory));
    code.flat_map(|t| {
        let named = t.body.lines().filter_map(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
        named.map(|path| plain(&Path::new(&t.path).parent().unwrap_or(Path::new("")).join(path)))
    })
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut done, part| {
        if part == Component::ParentDir {
            done.pop();
        } else {
            done.push(part);
        }
        done
    })
}

/// Whether code below a directory, or taken in there, names a library.
fn uses(directory: &Path, library: &str) -> bool {
    let taken: Vec<PathBuf> = taken_in(directory).collect();
    let is_its = |path: &Path| path.starts_with(directory) || taken.iter().any(|t| t == path);
    let code = texts().iter().filter(|t| t.is("rs") && is_its(Path::new(&t.path)));
    code.flat_map(Text::lines).any(|(_, line)| !line.trim_start().starts_with("//") && names(line, library))
}

/// What a package depends on, under the names that its code uses; each with whether its tests alone need it.
fn libraries(package: &'static Value) -> impl Iterator<Item = (&'static str, bool)> {
    let nodes = list(&metadata()["resolve"], "nodes");
    let node = nodes.iter().find(|n| n["id"] == package["id"]).expect("a package of ours is resolved");
    let others = list(node, "deps").iter().filter(|d| d["pkg"] != package["id"]);
    others.map(|d| (string(d, "name"), list(d, "dep_kinds").iter().all(|k| string(k, "kind") == "dev")))
}

#[test]
fn every_library_of_a_crate_is_used_there() {
    let offences = ours().flat_map(|package| {
        let directory = Path::new(string(package, "manifest_path")).parent().expect("a manifest lies in a directory");
        let room = directory.strip_prefix(root()).expect("our crates lie in the tree");
        // The crate of the tests has no product.
        let product = if directory.join("src").is_dir() { room.join("src") } else { room.to_owned() };
        let idle = libraries(package).filter(move |(name, tests)| !uses(if *tests { room } else { &product }, name));
        idle.map(move |(name, _)| format!("{}: {name}", string(package, "name")))
    });
    check("Listed in a crate's Cargo.toml, and not used:", offences);
}
