//! A real MinIO on a free port, gone with its value or with its test.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use trysail_repository::store::{credentials::Credentials, s3::S3Settings};

use crate::tools::Tool;

/// The first identity, which may do everything.
pub const ACCESS_KEY: &str = "root-of-tests";
/// Its secret.
pub const SECRET_KEY: &str = "secret-of-tests";

/// Time from start to readiness on a busy machine of two cores.
const START_TIME: Duration = Duration::from_mins(1);

/// Pause between two questions for readiness.
const START_POLL: Duration = Duration::from_millis(100);

/// A running server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Minio {
    process: Child,
    port: u16,
    mc: PathBuf,
    scratch: TempDir,
}

impl Drop for Minio {
    fn drop(&mut self) {
        // A server that has ended by itself is as gone as a killed one.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Minio {
    /// Starts a server on a temporary directory and waits until it is ready.
    pub fn start() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let data = scratch.path().join("data");
        std::fs::create_dir(&data)?;
        Self::start_on(&data, scratch)
    }

    /// Starts a server on a given directory; `scratch` holds what it and `mc` need besides.
    ///
    /// `setpriv --pdeathsig` ends it also where the test is killed, if the machine has that program. The signal comes
    /// with the death of the thread that starts it, so call this on the test's own thread.
    pub fn start_on(data: &Path, scratch: TempDir) -> Result<Self> {
        let (program, mc) = (Tool::Minio.path()?, Tool::Mc.path()?);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let guard = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status();
        let mut command = if guard.is_ok_and(|status| status.success()) {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let log = std::fs::File::create(scratch.path().join("log"))?;
        let process = command
            .args(["server", "--address", &format!("127.0.0.1:{port}")])
            .arg(data)
            .env("HOME", scratch.path())
            .envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY), ("MINIO_BROWSER", "off")])
            // Without a region of its own it takes requests that are signed for any.
            .env("MINIO_SITE_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start MinIO")?;
        let mut minio = Self { process, port, mc, scratch };
        minio.wait_until_ready()?;
        Ok(minio)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START_TIME;
        while Instant::now() < end {
            let ended = self.process.try_wait()?;
            if ended.is_some() {
                break;
            }
            if self.answers().unwrap_or(false) {
                return Ok(());
            }
            thread::sleep(START_POLL);
        }
        bail!("MinIO is not ready: {}", std::fs::read_to_string(self.scratch.path().join("log"))?)
    }

    fn answers(&self) -> std::io::Result<bool> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(START_TIME))?;
        socket.write_all(b"GET /minio/health/cluster HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
            .env("MC_HOST_t", format!("http://{ACCESS_KEY}:{SECRET_KEY}@127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .output()
            .context("start mc")?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "mc {}: {error}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
