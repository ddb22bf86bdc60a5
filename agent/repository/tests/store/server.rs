//! An S3 server inside the test process: s3s over s3s-fs on a free port of 127.0.0.1. Also one that says what it is told.

use std::io;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use trysail_repository::store::{credentials::Credentials, s3::S3Settings};

/// The bucket that exists.
const BUCKET: &str = "bucket";

/// Most bytes of a request's head that the scripted server reads.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A server with one empty bucket; it ends with the value.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    task: JoinHandle<()>,
    _scratch: Option<TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// s3s-fs with one identity.
    pub(crate) async fn start() -> io::Result<Self> {
        let scratch = tempfile::tempdir()?;
        std::fs::create_dir(scratch.path().join(BUCKET))?;
        let files = FileSystem::new(scratch.path()).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("writer", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that goes away is no failure of the server.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { endpoint, task, _scratch: Some(scratch) })
    }

    /// A server that gives one answer (a whole HTTP/1.1 response) per connection, the last one again and again.
    pub(crate) async fn scripted(answers: Vec<String>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            let mut index = 0;
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = vec![0; HEAD_BYTES_MAX];
                let _ = socket.read(&mut head).await;
                if let Some(answer) = answers.get(index).or(answers.last()) {
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
                let _ = socket.shutdown().await;
                index += 1;
            }
        });
        Ok(Self { endpoint, task, _scratch: None })
    }

    /// Settings with the identity that the server knows.
    pub(crate) fn settings(&self, prefix: &str) -> S3Settings {
        S3Settings {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".to_owned(),
            path_style: true,
            credentials: Credentials::new("writer", "secret"),
            ca_cert: None,
        }
    }
}

/// A whole response that closes the connection.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}
