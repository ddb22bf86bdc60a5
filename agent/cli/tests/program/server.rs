//! An S3 server for the program: s3s over s3s-fs on a free port of 127.0.0.1, behind TLS where a test wants that. It notes what it is asked.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::machine::Machine;

/// The identity that the server knows.
const ACCESS_KEY: &str = "writer";
const SECRET_KEY: &str = "secret";

/// The bucket that exists.
const BUCKET: &str = "bucket";

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// A server with one empty bucket; it ends with the value.
pub(crate) struct Server {
    endpoint: String,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

impl Server {
    /// A server that keeps its objects in the directory `s3` of a machine, whose user it lets in; with a TLS configuration it speaks TLS alone.
    pub(crate) fn start(machine: &Machine, tls: Option<ServerConfig>) -> Self {
        let credentials = format!("[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
        machine.write("home/.aws/credentials", credentials);
        let directory = machine.path("s3");
        std::fs::create_dir_all(directory.join(BUCKET)).expect("a directory");
        let files = FileSystem::new(&directory).expect("a file system");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let (seen, tls) = (Arc::<Seen>::default(), tls.map(|tls| TlsAcceptor::from(Arc::new(tls))));
        runtime.spawn(accept(listener, tls, service, seen.clone()));
        Self { endpoint, seen, _runtime: runtime }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The URL of a repository in its bucket, with further parameters.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!("s3://{BUCKET}/repo?endpoint={}{parameters}", self.endpoint)
    }

    /// Connections that were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// The requests since the last call: method, path and query.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.requests.lock().expect("no panic"))
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, service: S3Service, seen: Arc<Seen>) {
    while let Ok((socket, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, service, seen) = (tls.clone(), service.clone(), seen.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(socket, service, seen).await,
                // A client that refuses the certificate is what a test waits for.
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, service, seen).await;
                    }
                }
            }
        });
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, service: S3Service, seen: Arc<Seen>) {
    let noting = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let asked = format!("{} {}", request.method(), request.uri());
        if let Ok(mut requests) = seen.requests.lock() {
            requests.push(asked);
        }
        Service::call(&service, request)
    });
    // A client that goes away is no failure of the server.
    let _: Result<(), io::Error> = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), noting)
        .await
        .map_err(io::Error::other);
}
