//! A proxy that counts the requests to an S3 server by their verbs.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// A running proxy; it ends with this program.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    counts: Counts,
}

impl Proxy {
    /// Starts a proxy for the server at that address.
    pub(crate) fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, counts, server) = (listener.local_addr()?, Counts::default(), server.to_owned());
        let shared = counts.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, counts) = (server.clone(), shared.clone());
                // A connection that breaks is the client's to repeat.
                thread::spawn(move || drop(connection(client, &server, &counts)));
            }
        });
        Ok(Self { address, counts })
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call, by verb.
    pub(crate) fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes requests on, counted, and answers back as they come.
fn connection(client: TcpStream, server: &str, counts: &Counts) -> Result<()> {
    let mut server = TcpStream::connect(server)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Both);
    });
    let mut requests = BufReader::new(client);
    loop {
        let (mut head, mut body) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if requests.read_line(&mut head)? == 0 {
                return Ok(server.shutdown(std::net::Shutdown::Write)?);
            }
            let line = head[from..].to_ascii_lowercase();
            if let Some(length) = line.strip_prefix("content-length:") {
                body = length.trim().parse().context("a length is a number")?;
            }
        }
        let verb = head.split(' ').next().unwrap_or_default().to_owned();
        *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(verb).or_default() += 1;
        server.write_all(head.as_bytes())?;
        std::io::copy(&mut requests.by_ref().take(body), &mut server)?;
    }
}
