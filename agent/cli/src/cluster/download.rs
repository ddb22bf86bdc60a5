//! Stored files of backups and restores, fetched as the server's users fetch them: the server signs a URL, the store serves it.

use std::{fs, io::Write, time::Duration};

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::write::MultiGzDecoder;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reqwest::{Certificate, StatusCode, redirect};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use trysail_api::{
    backup::Backup,
    backup_storage_location::{BackupStorageLocation, ObjectStorage},
    download_request::{DownloadRequest, DownloadRequestSpec, DownloadTarget, DownloadTargetKind},
};
use trysail_repository::store::OBJECT_BYTES_MAX;

use super::Cluster;
use crate::{
    args::cluster::Trust,
    show::files::{Fetched, Missing},
};

/// Longest time until a file of a description is there. Source: Velero `pkg/cmd/util/output/backup_describer.go`.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(30);

/// Largest file that a description tells of: lists of 100,000 objects are a tenth of it.
const DESCRIBED_MAX: usize = 128 << 20;

/// What the stock command line says when the server does not answer.
const UNANSWERED: &str = "download request download url timeout, check velero server logs for errors. backup storage \
                          location may not be available";

/// Fetches files of the backups of one cluster.
#[derive(Debug)]
pub(crate) struct Downloads<'a> {
    cluster: &'a Cluster,
    http: reqwest::Client,
}

impl<'a> Downloads<'a> {
    /// Takes the certificates that a file names, else those of the backup's location.
    pub(crate) async fn of(cluster: &'a Cluster, backup: Option<&Backup>, trust: &Trust) -> Result<Self> {
        let mut http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .danger_accept_invalid_certs(trust.insecure_skip_tls_verify);
        let pem = match &trust.cacert {
            Some(path) => Some(fs::read(path).with_context(|| path.display().to_string())?),
            None => certificates(cluster, backup).await,
        };
        for certificate in
            Certificate::from_pem_bundle(&pem.unwrap_or_default()).context("certificates of the store")?
        {
            http = http.add_root_certificate(certificate);
        }
        Ok(Self { cluster, http: http.build().context("make an HTTP client")? })
    }

    /// Writes a file as it is stored.
    pub(crate) async fn raw(
        &self,
        kind: DownloadTargetKind,
        name: &str,
        limit: Duration,
        to: &mut (impl Write + Send),
    ) -> Fetched<()> {
        let url = timeout(limit, self.url(kind, name)).await;
        let url = url.map_err(|_| Missing::Failed(UNANSWERED.to_owned()))??;
        let mut answer = self.http.get(url).send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Missing::NotFound),
            status => {
                let body = answer.text().await.unwrap_or_default();
                return Err(Missing::Failed(format!("request failed: {status}: {}", body.trim())));
            }
        }
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            to.write_all(&chunk).map_err(|error| Missing::Failed(error.to_string()))?;
        }
        Ok(())
    }

    /// Writes what a compressed file holds.
    pub(crate) async fn unzipped(
        &self,
        kind: DownloadTargetKind,
        name: &str,
        limit: Duration,
        to: &mut (impl Write + Send),
    ) -> Fetched<()> {
        let mut decoder = MultiGzDecoder::new(to);
        self.raw(kind, name, limit, &mut decoder).await?;
        decoder.finish().map(drop).map_err(|error| Missing::Failed(error.to_string()))
    }

    /// A compressed file of JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, kind: DownloadTargetKind, name: &str) -> Fetched<T> {
        let mut held = Held { bytes: Vec::new(), max: DESCRIBED_MAX };
        self.unzipped(kind, name, DESCRIBED_WITHIN, &mut held).await?;
        serde_json::from_slice(&held.bytes).map_err(|error| Missing::Failed(format!("it is damaged: {error}")))
    }

    /// A file as it is stored, in memory: it is no larger than an object of a store can be.
    pub(crate) async fn whole(&self, kind: DownloadTargetKind, name: &str, limit: Duration) -> Fetched<Vec<u8>> {
        let max = usize::try_from(OBJECT_BYTES_MAX).unwrap_or(usize::MAX);
        let mut held = Held { bytes: Vec::new(), max };
        self.raw(kind, name, limit, &mut held).await?;
        Ok(held.bytes)
    }

    /// Asks the server for a URL and waits for it. The server deletes the request in ten minutes.
    async fn url(&self, kind: DownloadTargetKind, name: &str) -> Fetched<String> {
        let target = DownloadTarget { kind, name: name.to_owned() };
        let mut request = DownloadRequest::new("", DownloadRequestSpec { target });
        request.metadata.name = None;
        request.metadata.generate_name = Some(format!("{name}-"));
        let told = |error: anyhow::Error| Missing::Failed(format!("{error:#}"));
        let made = self.cluster.create(&request).await.map_err(told)?;
        let has_url = |request: &DownloadRequest| url_of(request).is_some();
        let answered = self.cluster.until(&made.name_any(), has_url).await.map_err(told)?;
        let url = answered.as_ref().and_then(url_of);
        url.ok_or_else(|| Missing::Failed("the request for it was deleted".to_owned()))
    }
}

fn url_of(request: &DownloadRequest) -> Option<String> {
    request.status.as_ref()?.download_url.clone().filter(|url| !url.is_empty())
}

/// What a store did wrong, without the URL, which lets its reader in.
fn failed(error: reqwest::Error) -> Missing {
    let host = error.url().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let error = anyhow::Error::from(error.without_url());
    let hint = "config.publicUrl of the location names the store as it is reached from here";
    Missing::Failed(format!("get it from {host}: {error:#}; {hint}"))
}

/// The certificates of the location of a backup. Without them, those of the system alone are trusted.
async fn certificates(cluster: &Cluster, backup: Option<&Backup>) -> Option<Vec<u8>> {
    let name = backup?.spec.storage_location.as_deref().filter(|name| !name.is_empty())?;
    let location = cluster.find::<BackupStorageLocation>(name).await.ok()??;
    let ObjectStorage { ca_cert, ca_cert_ref, .. } = location.spec.object_storage;
    if let Some(reference) = ca_cert_ref {
        let secret = cluster.find::<Secret>(&reference.name).await.ok()??;
        return secret.data?.remove(&reference.key).map(|bytes| bytes.0);
    }
    BASE64_STANDARD.decode(ca_cert?.0).ok()
}

/// A file in memory, as large as it may be.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    max: usize,
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            return Err(std::io::Error::other(format!("it is larger than {} MiB", self.max >> 20)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
