//! Snapshots come back without us: by `rescue.sh` and by pipelines of stock tools, from a directory, through `mc`, through `curl`
//! (feature `store`; needs Go, age, zstd, GNU tar, curl, dash, python3, nix and ssh-keygen).
#![cfg(feature = "store")]

#[path = "../../agent/volume/tests/tree/mod.rs"]
mod tree;

#[path = "rescue/stage.rs"]
mod stage;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use trysail_repository::table::{Kind, Row};
use trysail_tests::minio::{ACCESS_KEY, Minio, SECRET_KEY};

use stage::{Keys, PATH_LIMIT, Place, Ran, Stage, run};

/// What `rescue.sh` must bring back: all but sockets, which tar does not have, and names beyond its limit.
fn restorable(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().filter(|row| row.kind != Kind::Socket && row.path.len() < PATH_LIMIT).collect()
}

/// Runs `rescue.sh` for a snapshot and compares the tree with the source of that time.
fn rescue_and_compare(stage: &Stage, place: &Place<'_>, wanted: &str, expected: &[Row]) -> Result<()> {
    let target = tempfile::tempdir()?;
    let ran = stage.rescue(place, wanted, target.path())?;
    ensure!(ran.code == Some(0), "{wanted}: {ran:?}");
    tree::assert_same(&tree::rows(target.path()), expected);
    Ok(())
}

/// A full and a fragmented snapshot from one place, by name, by a beginning, and as the latest.
fn both_snapshots_come_back<'m>(keys: Keys, place: impl Fn(&Stage) -> Place<'m>, names_only: bool) -> Result<()> {
    let stage = Stage::new(keys)?;
    let place = place(&stage);
    stage.build()?;
    let (first, first_rows) = (stage.back_up(&place)?, restorable(tree::rows(&stage.source())));
    stage.edit()?;
    let (second, second_rows) = (stage.back_up(&place)?, restorable(tree::rows(&stage.source())));
    ensure!(first_rows != second_rows, "the edits change the tree");
    rescue_and_compare(&stage, &place, &first, &first_rows)?;
    rescue_and_compare(&stage, &place, &second, &second_rows)?;
    if !names_only {
        rescue_and_compare(&stage, &place, "latest", &second_rows)?;
        rescue_and_compare(&stage, &place, "volume@latest", &second_rows)?;
    }
    Ok(())
}

#[test]
fn a_directory_restores_by_script() -> Result<()> {
    both_snapshots_come_back(Keys::None, Stage::directory, false)
}

#[test]
fn an_encrypted_directory_restores_by_script() -> Result<()> {
    both_snapshots_come_back(Keys::Age, Stage::directory, false)
}

fn minio() -> Result<Minio> {
    let minio = Minio::start()?;
    minio.make_bucket("bucket")?;
    Ok(minio)
}

#[test]
fn a_minio_restores_by_script_and_mc() -> Result<()> {
    let minio = minio()?;
    both_snapshots_come_back(Keys::None, |_| Place::Mc(&minio), false)
}

#[test]
fn an_encrypted_minio_restores_by_script_and_mc() -> Result<()> {
    let minio = minio()?;
    both_snapshots_come_back(Keys::Age, |_| Place::Mc(&minio), false)
}

#[test]
fn an_encrypted_minio_restores_by_script_and_curl_with_full_names() -> Result<()> {
    let minio = minio()?;
    both_snapshots_come_back(Keys::Age, |_| Place::Curl(&minio), true)
}

#[test]
fn what_is_encrypted_for_an_ssh_key_restores_by_script() -> Result<()> {
    both_snapshots_come_back(Keys::Ssh, Stage::directory, true)
}

#[test]
fn a_path_beyond_the_limit_of_tar_is_named_and_costs_itself_only() -> Result<()> {
    let stage = Stage::new(Keys::None)?;
    let place = stage.directory();
    fs::write(stage.source().join("after"), "kept")?;
    tree::chain(&stage.source(), &[b'p'; 200], 25);
    let snapshot = stage.back_up(&place)?;
    let target = tempfile::tempdir()?;
    let ran = stage.rescue(&place, &snapshot, target.path())?;
    ensure!(ran.code == Some(3), "{ran:?}");
    let deep = vec!["p".repeat(200); 25].join("/");
    ensure!(ran.stderr.contains(&format!("not restored: ./{deep}/end (its name is too long for tar)")), "{ran:?}");
    assert_eq!(fs::read_to_string(target.path().join("after"))?, "kept");
    Ok(())
}

#[test]
fn a_wrong_or_missing_identity_is_told_and_nothing_is_written() -> Result<()> {
    let stage = Stage::new(Keys::Age)?;
    let place = stage.directory();
    fs::write(stage.source().join("a"), "alpha")?;
    let snapshot = stage.back_up(&place)?;
    let target = stage.path("absent-target");
    let ran = stage.rescue_with(&place, &snapshot, &target, None)?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("is encrypted: give the age identity file"), "{ran:?}");
    let ran = stage.rescue_with(&place, &snapshot, &target, Some(&stage.path("stranger")))?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("age cannot decrypt it with"), "{ran:?}");
    ensure!(!target.exists(), "a target was made");
    Ok(())
}

/// What a person does by hand after a first snapshot that found no frame to share: no script, no recipe.
#[test]
fn the_packs_of_a_first_snapshot_are_a_tar_for_age_zstd_and_tar() -> Result<()> {
    for (keys, decrypt) in [(Keys::None, "cat \"$f\""), (Keys::Age, "age -d -i \"$ID\" \"$f\"")] {
        let stage = Stage::new(keys)?;
        let directory = stage.source().join("directory");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("large"), stage::noise(3_000_000, 1))?;
        std::fs::write(directory.join("small"), stage::noise(5000, 2))?;
        std::fs::write(directory.join("empty"), "")?;
        std::fs::hard_link(directory.join("large"), stage.source().join("another name"))?;
        std::os::unix::fs::symlink("directory/small", stage.source().join("link"))?;
        stage.back_up(&stage.directory())?;
        let target = tempfile::tempdir()?;
        let script = format!(
            "set -e; {{ for f in \"$REPO\"/v1/p/*/*.pk; do {decrypt} | zstd -dcq; done; head -c 1024 /dev/zero; }} \
             | tar -xpf - -C \"$TARGET\" --numeric-owner --xattrs '--xattrs-include=*' --acls --delay-directory-restore \
             --warning=no-timestamp"
        );
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &script])
            .env("REPO", stage.path("repo"))
            .env("TARGET", target.path())
            .env("ID", stage.path("identity"));
        let ran = run(&mut shell)?;
        ensure!(ran.code == Some(0), "{ran:?}");
        tree::assert_same(&tree::rows(target.path()), &restorable(tree::rows(&stage.source())));
    }
    Ok(())
}

#[test]
fn an_export_is_a_tar_for_zstd_and_tar() -> Result<()> {
    let stage = Stage::new(Keys::Age)?;
    let place = stage.directory();
    stage.build()?;
    stage.back_up(&place)?;
    stage.edit()?;
    let snapshot = stage.back_up(&place)?;
    let target = tempfile::tempdir()?;
    let mut export = stage.trysail(&place, &["volume", "export", &snapshot, "--identity"]);
    let mut export = export.arg(stage.path("identity")).stdout(Stdio::piped()).spawn()?;
    let script = "zstd -dcq | tar -xpf - -C \"$TARGET\" --numeric-owner --xattrs '--xattrs-include=*' --acls \
                  --delay-directory-restore --warning=no-timestamp";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env("TARGET", target.path()).stdin(export.stdout.take().context("a pipe")?);
    let ran = run(&mut shell)?;
    ensure!(export.wait()?.success() && ran.code == Some(0), "{ran:?}");
    tree::assert_same(&tree::rows(target.path()), &restorable(tree::rows(&stage.source())));
    Ok(())
}

#[test]
fn the_second_reader_verifies_both_snapshots_and_agrees_on_every_row() -> Result<()> {
    for keys in [Keys::None, Keys::Age] {
        let stage = Stage::new(keys)?;
        let place = stage.directory();
        stage.build()?;
        let first = stage.back_up(&place)?;
        stage.edit()?;
        let second = stage.back_up(&place)?;
        for snapshot in [first, second] {
            assert_eq!(stage.read_by_python(&snapshot)?, stage.listed_by_trysail(&place, &snapshot)?);
        }
    }
    Ok(())
}

#[test]
fn the_second_reader_and_the_script_read_every_golden_repository() -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let stage = Stage::new(Keys::None)?;
    for version in fs::read_dir(golden)? {
        for repository in fs::read_dir(version?.path())? {
            let directory = repository?.path();
            let listing = fs::read_to_string(directory.join("listing"))?;
            let identity = directory.join("identity");
            let identity = identity.exists().then_some(identity.as_path());
            for snapshot in listing.lines().filter_map(|line| line.strip_prefix("snapshot\t")) {
                stage::python(&directory.join("repo"), snapshot, identity)?;
                let target = tempfile::tempdir()?;
                let place = Place::Directory(directory.join("repo"));
                let ran = stage.rescue_with(&place, snapshot, target.path(), identity)?;
                ensure!(ran.code == Some(0), "{}: {ran:?}", directory.display());
            }
        }
    }
    Ok(())
}

#[test]
fn the_nar_hash_of_a_restore_is_that_of_nix() -> Result<()> {
    let stage = Stage::new(Keys::None)?;
    let place = stage.directory();
    let source = stage.source();
    fs::create_dir_all(source.join("b/empty"))?;
    fs::write(source.join("b/c"), stage::noise(700_000, 3))?;
    fs::write(source.join("b-"), "sorts between")?;
    fs::write(source.join("run"), "#!/bin/sh\n")?;
    fs::set_permissions(source.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    std::os::unix::fs::symlink("b/c", source.join("link"))?;
    let snapshot = stage.back_up(&place)?;
    let target = stage.path("out");
    let target_text = target.to_str().context("a path in UTF-8")?;
    let printed = stage.json(&place, &["volume", "restore", &snapshot, target_text, "--nar"])?;
    let home = TempDir::new()?;
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command", "hash", "path", target_text]).env("HOME", home.path());
    let ran = run(&mut nix).context("`nix` is in Debian's package nix-bin")?;
    assert_eq!(printed["nar"].as_str(), Some(ran.stdout.trim()), "{ran:?}");
    Ok(())
}

/// Headers that the `age` program writes, for one, two and SSH recipients, are read by ours: as the keys of a repository.
#[test]
fn files_that_the_age_program_encrypted_are_opened_by_ours() -> Result<()> {
    let stage = Stage::new(Keys::Age)?;
    let recipients = [
        vec![stage.recipient("identity")?],
        vec![stage.recipient("identity")?, stage.recipient("stranger")?],
        vec![stage.recipient("stranger")?, stage.recipient("ssh")?, stage.recipient("identity")?],
        vec![stage.recipient("ssh")?],
    ];
    for (recipients, opens) in recipients.iter().zip(["identity", "identity", "identity", "ssh"]) {
        for length in [0_usize, 1, 65_535, 65_536, 65_537, 200_000] {
            let plain = stage::noise(length, 9);
            let file = stage.path("plain");
            fs::write(&file, &plain)?;
            let mut age = Command::new("age");
            age.args(recipients.iter().flat_map(|r| ["-r", r.as_str()])).arg("-o").arg(stage.path("sealed")).arg(&file);
            let ran: Ran = run(&mut age)?;
            ensure!(ran.code == Some(0), "{ran:?}");
            let identity = trysail_repository::seal::Identity::parse(&fs::read_to_string(stage.path(opens))?)?;
            let opened = trysail_repository::seal::decrypt(&fs::read(stage.path("sealed"))?, &identity)?;
            ensure!(opened == plain, "{length} bytes for {recipients:?}");
        }
    }
    Ok(())
}

#[test]
fn curl_signs_as_the_identity_of_the_environment() -> Result<()> {
    let minio = minio()?;
    let stage = Stage::new(Keys::None)?;
    fs::write(stage.source().join("a"), "alpha")?;
    let place = Place::Curl(&minio);
    let snapshot = stage.back_up(&place)?;
    let mut without = stage.rescue_command(&place, &snapshot, &stage.path("out"), None)?;
    without.env_remove("AWS_ACCESS_KEY_ID");
    let ran = run(&mut without)?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("cannot be read"), "{ran:?}");
    ensure!(!ran.stderr.contains(SECRET_KEY) && !ran.stderr.contains(ACCESS_KEY), "{ran:?}");
    Ok(())
}
