//! The foreign programs of the tests and of the bench, built once from the `go.mod` files beside this one.
//!
//! They lie in `$TRYSAIL_CACHE`, else `$XDG_CACHE_HOME/trysail`, else `~/.cache/trysail`, under the hash of their
//! `go.mod`, `go.sum` and the Go files beside them. A machine without Go is an error and not a skipped test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

/// Hex digits of the hash in a directory name: 64 bits are enough to tell versions of two files apart.
const HASH_DIGITS: usize = 16;

/// The directory of definitions beside a controller.
const DEFINITIONS: &str = "definitions";

/// A program that is built from source.
#[derive(Debug, Clone, Copy)]
pub enum Tool {
    /// The S3 server.
    Minio,
    /// Its command line client.
    Mc,
    /// A peer of the bench.
    Restic,
    /// A peer of the bench.
    Kopia,
    /// The encryption program.
    Age,
    /// Makes its identities.
    AgeKeygen,
    /// Kubernetes, etcd and CoreDNS; the first argument says as what it runs, for example `kubelet`.
    Kubernetes,
    /// Makes volumes of directories on a node.
    LocalPathProvisioner,
    /// The first process of every pod.
    Pause,
    /// The oldest stock command line that must work.
    Velero113,
    /// The newest one.
    Velero118,
    /// What its restored pods wait with; a part of the bench.
    VeleroRestoreHelper,
    /// Its plugin for S3; a part of the bench.
    VeleroPluginForAws,
    /// Seals and opens files in Git.
    Sops,
    /// Replaces references to their values.
    Vals,
    /// The part of Flux that fetches trees of files.
    SourceController,
    /// The part of Flux that makes a cluster what a tree says.
    KustomizeController,
}

impl Tool {
    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Mc => "mc",
            Self::Restic => "restic",
            Self::Kopia => "kopia",
            Self::Age => "age",
            Self::AgeKeygen => "age-keygen",
            Self::Kubernetes => "kube",
            Self::LocalPathProvisioner => "local-path-provisioner",
            Self::Pause => "pause",
            Self::Velero113 => "velero-1.13",
            Self::Velero118 => "velero-1.18",
            Self::VeleroRestoreHelper => "velero-restore-helper",
            Self::VeleroPluginForAws => "velero-plugin-for-aws",
            Self::Sops => "sops",
            Self::Vals => "vals",
            Self::SourceController => "source-controller",
            Self::KustomizeController => "kustomize-controller",
        }
    }

    /// The directory of its `go.mod`.
    fn module(self) -> &'static str {
        match self {
            Self::AgeKeygen => "age",
            Self::LocalPathProvisioner => "kube",
            Self::VeleroRestoreHelper => "velero-1.18",
            other => other.name(),
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Minio => "github.com/minio/minio",
            Self::Mc => "github.com/minio/mc",
            Self::Restic => "github.com/restic/restic/cmd/restic",
            Self::Kopia => "github.com/kopia/kopia",
            Self::Age => "filippo.io/age/cmd/age",
            Self::AgeKeygen => "filippo.io/age/cmd/age-keygen",
            // The package beside the `go.mod`.
            Self::Kubernetes | Self::Pause => ".",
            Self::LocalPathProvisioner => "github.com/rancher/local-path-provisioner",
            Self::Velero113 | Self::Velero118 => "github.com/vmware-tanzu/velero/cmd/velero",
            Self::VeleroRestoreHelper => "github.com/vmware-tanzu/velero/cmd/velero-restore-helper",
            Self::VeleroPluginForAws => "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws",
            Self::Sops => "github.com/getsops/sops/v3/cmd/sops",
            Self::Vals => "github.com/helmfile/vals/cmd/vals",
            Self::SourceController => "github.com/fluxcd/source-controller",
            Self::KustomizeController => "github.com/fluxcd/kustomize-controller",
        }
    }

    /// The package whose version is the program's.
    fn versioned_package(self) -> &'static str {
        match self {
            Self::Kubernetes => "k8s.io/kubernetes",
            other => other.package(),
        }
    }

    /// Flags of the linker: no tables for debuggers, and the version where the program has none without them.
    fn linker_flags(self) -> Result<String> {
        let variable = match self {
            Self::Kubernetes => "k8s.io/component-base/version.gitVersion",
            Self::LocalPathProvisioner => "main.VERSION",
            Self::Velero113 | Self::Velero118 => "github.com/vmware-tanzu/velero/pkg/buildinfo.Version",
            _ => return Ok("-s -w".to_owned()),
        };
        Ok(format!("-s -w -X {variable}={}", self.version()?))
    }

    fn tags(self) -> &'static str {
        match self {
            Self::Restic => "selfupdate,disable_grpc_modules",
            _ => "",
        }
    }

    /// The version of its package that the `go.mod` names.
    pub fn version(self) -> Result<String> {
        let path = self.source().join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut named = text.lines().filter_map(|line| {
            let mut words = line.trim().trim_start_matches("require ").split_whitespace();
            let (module, version) = (words.next()?, words.next()?);
            let within = self.versioned_package().strip_prefix(module)?;
            (version.starts_with('v') && (within.is_empty() || within.starts_with('/'))).then(|| version.to_owned())
        });
        named.next_back().with_context(|| format!("{} names no version of {}", path.display(), self.name()))
    }

    fn source(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/tools").join(self.module())
    }

    /// The path of the program. The first caller on a machine builds it (minutes); others wait for it.
    pub fn path(self) -> Result<PathBuf> {
        let source = self.source();
        let directory = cache()?.join(format!("{}-{}", self.name(), hash(&source)?));
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let lock = fs::File::create(directory.join("lock")).context("make the lock of a build")?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("wait for another build")?;
        let program = directory.join(self.name());
        if !program.exists() {
            self.build(&source, &directory)?;
        }
        Ok(program)
    }

    /// The definitions of the kinds of a controller, as its module brings them.
    pub fn definitions(self) -> Result<Vec<PathBuf>> {
        let directory = self.path()?.with_file_name(DEFINITIONS);
        let files = fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
        let mut files: Vec<PathBuf> = files.map(|file| file.map(|file| file.path())).collect::<std::io::Result<_>>()?;
        files.sort();
        Ok(files)
    }

    /// Copies the definitions of a controller beside it, since the modules of a build are not kept.
    fn keep_definitions(self, source: &Path, directory: &Path) -> Result<()> {
        let mut list = go(source);
        let output = list.args(["list", "-m", "-f", "{{.Dir}}", self.package()]).output().context("start go")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let module = String::from_utf8(output.stdout)?;
        let kept = directory.join(DEFINITIONS);
        fs::create_dir_all(&kept)?;
        for file in fs::read_dir(Path::new(module.trim()).join("config/crd/bases"))? {
            let file = file?;
            // Not `copy`, which would keep that files of modules are read-only.
            fs::write(kept.join(file.file_name()), fs::read(file.path())?)?;
        }
        Ok(())
    }

    /// Builds beside the final name, so that an interrupted build leaves nothing that looks finished.
    fn build(self, source: &Path, directory: &Path) -> Result<()> {
        let unfinished = directory.join("unfinished");
        let status = go(source)
            .args(["build", "-trimpath", "-ldflags", &self.linker_flags()?, "-tags", self.tags(), "-o"])
            .arg(&unfinished)
            .arg(self.package())
            .status()
            .with_context(|| format!("{} is built with Go, and `go` does not start", self.name()))?;
        ensure!(status.success(), "the build of {} failed: {status}", self.name());
        if matches!(self, Self::SourceController | Self::KustomizeController) {
            self.keep_definitions(source, directory)?;
        }
        fs::rename(unfinished, directory.join(self.name())).context("move the finished program to its place")
    }
}

/// The module of the Prometheus operator, of which only files are wanted.
const PROMETHEUS_OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator";

/// The kinds of the Prometheus operator that are rendered, as its definitions call them.
const MONITORING: [&str; 3] = ["podmonitors", "prometheusrules", "servicemonitors"];

/// The definitions of these kinds, as that module brings them.
pub fn monitoring_definitions() -> Result<Vec<PathBuf>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/tools/prometheus-operator");
    let output = go(&source).args(["mod", "download", "-json", PROMETHEUS_OPERATOR]).output().context("start go")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let downloaded: serde_json::Value = serde_json::from_slice(&output.stdout).context("go prints JSON")?;
    let module = Path::new(downloaded["Dir"].as_str().context("a module has a directory")?);
    let file = |kind: &&str| module.join(format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"));
    Ok(MONITORING.iter().map(file).collect())
}

/// Go, in the directory of a `go.mod`, which it does not change.
fn go(source: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(source).envs([
        ("CGO_ENABLED", "0"),
        ("GOFLAGS", "-buildvcs=false -mod=readonly"),
        ("GOTOOLCHAIN", "local"),
    ]);
    go
}

fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TRYSAIL_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("trysail")))
        .or_else(|| Some(set("HOME")?.join(".cache/trysail")))
        .context("none of TRYSAIL_CACHE, XDG_CACHE_HOME and HOME is set")
}

fn hash(source: &Path) -> Result<String> {
    let mut names = vec!["go.mod".to_owned(), "go.sum".to_owned()];
    for entry in fs::read_dir(source).with_context(|| format!("list {}", source.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "go") {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names[2..].sort();
    let mut hash = Sha256::new();
    for name in names {
        let path = source.join(name);
        hash.update(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
    }
    Ok(hex::encode(hash.finalize()).chars().take(HASH_DIGITS).collect())
}
