//! Code that decides what lies in a repository does not change without a look at the text that describes it.

use sha2::{Digest as _, Sha256};

use super::tree::{Text, text, texts};

const FORMAT: &str = "agent/repository/FORMAT.md";

/// Where stored bytes are made and read, below the sources of the repository. A directory stands for all in it.
const SOURCES: [&str; 11] = [
    "commit.rs",
    "config.rs",
    "index.rs",
    "index/",
    "pack.rs",
    "pack_set.rs",
    "pack_table.rs",
    "recipe.rs",
    "table.rs",
    "table/",
    "write/part.rs",
];

fn stores(t: &Text) -> bool {
    let Some(name) = t.path.strip_prefix("agent/repository/src/") else { return false };
    let is_in = |source: &str| name == source || source.ends_with('/') && name.starts_with(source);
    SOURCES.iter().any(|source| is_in(source)) && !name.ends_with("tests.rs")
}

/// The code of a module without its tests, comments, imports, and whatever a formatter may change.
fn code(body: &str) -> String {
    // Tests in a file of their own are declared above the code, and end nothing.
    let product = body.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(body);
    let mut code = String::new();
    let mut in_import = false;
    for line in product.lines() {
        let line = line.trim();
        in_import = in_import || ["use ", "pub use ", "pub(crate) use "].iter().any(|word| line.starts_with(word));
        if !in_import && !line.starts_with("//") {
            code.extend(line.split_whitespace());
        }
        in_import = in_import && !line.ends_with(';');
    }
    [")", "]", "}"].iter().fold(code, |code, end| code.replace(&format!(",{end}"), end))
}

#[test]
fn the_text_of_the_format_has_been_read_again_after_each_change_of_what_is_stored() {
    let sources: Vec<&Text> = texts().iter().filter(|t| stores(t)).collect();
    for source in SOURCES {
        let path = format!("agent/repository/src/{source}");
        assert!(sources.iter().any(|t| t.path.starts_with(&path)), "{path} is gone: correct the list in this file");
    }
    let mut hash = Sha256::new();
    for t in sources {
        hash.update(format!("{}\n{}\n", t.path, code(&t.body)));
    }
    let expected = format!("<!-- sources: sha256 {} -->", hex::encode(hash.finalize()));
    let found = text(FORMAT).lines().last().unwrap_or_default();
    assert!(
        found == expected,
        "The code that decides what lies in a repository is not the code that {FORMAT} was compared with.\n\
         If stored bytes changed, say so there first: the layout, its version (§12), a golden repository that has them.\n\
         If the text is right as it is, make this its last line:\n\n{expected}\n"
    );
}

#[test]
fn what_a_formatter_or_a_comment_changes_is_no_change_of_code() {
    let one = "//! Says this.\nuse a::{b, c};\n\nfn f(a: u8, b: u8) {}\n";
    let other = "//! Says that.\nuse a::{\n    c,\n    b,\n};\n\n/// More.\nfn f(\n    a: u8,\n    b: u8,\n) {\n}\n";
    let tests = format!("{one}\n#[cfg(test)]\nmod tests {{}}\n");
    assert_eq!((code(one), code(one)), (code(other), code(&tests)));
    assert_ne!(code(one), code(&one.replace("u8", "u16")));
    let above = |one: &str| code(&format!("mod a;\n#[cfg(test)]\nmod tests;\n{one}"));
    assert_ne!(above(one), above(&one.replace("u8", "u16")));
}
