//! A real MinIO on a free port, gone with its value or with its test.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use trysail_repository::store::{credentials::Credentials, s3::S3Settings};

use crate::{
    program::{Program, guarded},
    tools::Tool,
    wait,
};

/// The first identity, which may do everything.
pub const ACCESS_KEY: &str = "root-of-tests";
/// Its secret.
pub const SECRET_KEY: &str = "secret-of-tests";

/// Time from start to readiness on a busy machine of two cores.
const START_TIME: Duration = Duration::from_mins(1);

/// A running server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Minio {
    program: Program,
    address: SocketAddr,
    mc: PathBuf,
    scratch: TempDir,
}

impl Minio {
    /// Starts a server on a temporary directory and waits until it is ready.
    pub fn start() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let data = scratch.path().join("data");
        std::fs::create_dir(&data)?;
        Self::start_on(&data, scratch)
    }

    /// Starts a server on a given directory; `scratch` holds what it and `mc` need besides. Call it on the test's own thread.
    pub fn start_on(data: &Path, scratch: TempDir) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Self::start_at(address, data, scratch, guarded)
    }

    /// Starts a server at an address and waits until this process reaches it. `command` makes of the program's path the
    /// command that runs it, for example in another network namespace.
    pub fn start_at(
        address: SocketAddr,
        data: &Path,
        scratch: TempDir,
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<Self> {
        let mc = Tool::Mc.path()?;
        let mut command = command(&Tool::Minio.path()?);
        command
            .args(["server", "--address", &address.to_string()])
            .arg(data)
            .env("HOME", scratch.path())
            .envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY), ("MINIO_BROWSER", "off")])
            // Without a region of its own it takes requests that are signed for any.
            .env("MINIO_SITE_REGION", "us-east-1");
        let program = Program::start("MinIO", command, &scratch.path().join("log"))?;
        let mut minio = Self { program, address, mc, scratch };
        wait::until_true("MinIO is ready", START_TIME, || {
            minio.program.check()?;
            Ok(minio.answers().unwrap_or(false))
        })?;
        Ok(minio)
    }

    fn answers(&self) -> std::io::Result<bool> {
        let mut socket = TcpStream::connect_timeout(&self.address, START_TIME)?;
        socket.set_read_timeout(Some(START_TIME))?;
        socket.write_all(b"GET /minio/health/cluster HTTP/1.1\r\nHost: minio\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    }

    /// Stops it where it stands: it takes connections and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.program.pause()
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.program.resume()
    }

    /// `http://address:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of a repository, as the command line takes it.
    pub fn url(&self, bucket: &str, prefix: &str) -> String {
        format!("s3://{bucket}/{prefix}?endpoint={}&region=us-east-1", self.endpoint())
    }

    /// Settings of the first identity.
    pub fn settings(&self, bucket: &str, prefix: &str) -> Result<S3Settings> {
        let env = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some(ACCESS_KEY.to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(SECRET_KEY.to_owned()),
            _ => None,
        };
        Ok(S3Settings::from_url(&self.url(bucket, prefix), env)?)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        self.mc(&["mb", &format!("t/{name}")]).map(|_| ())
    }

    /// Makes an identity with exactly the rights of a policy document.
    pub fn make_user(&self, name: &str, policy: &str) -> Result<Credentials> {
        let path = self.scratch.path().join(format!("{name}.json"));
        std::fs::write(&path, policy)?;
        let path = path.to_str().context("the path of a policy is UTF-8")?;
        let secret = format!("secret-of-{name}");
        self.mc(&["admin", "user", "add", "t", name, &secret])?;
        self.mc(&["admin", "policy", "create", "t", name, path])?;
        self.mc(&["admin", "policy", "attach", "t", name, "--user", name])?;
        Ok(Credentials::new(name, secret))
    }

    /// Runs `mc`, in which this server is `t`; what it printed.
    pub fn mc(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.mc)
            .arg("--config-dir")
            .arg(self.scratch.path().join("mc"))
            .args(arguments)
            .env("MC_HOST_t", format!("http://{ACCESS_KEY}:{SECRET_KEY}@{}", self.address))
            .stdin(Stdio::null())
            .output()
            .context("start mc")?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "mc {}: {error}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
