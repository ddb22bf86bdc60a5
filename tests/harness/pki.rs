//! Certificates and kubeconfig files of one API server and its clients, new for each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

/// The group whose members may do everything; RBAC knows it from the start.
pub const ADMINISTRATORS: &str = "system:masters";

/// A directory of `NAME.crt`, `NAME.key` and `NAME.kubeconfig`. Who can read it is administrator.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// Whom a certificate names.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user, for Kubernetes the common name.
    pub user: &'a str,
    /// The group, for Kubernetes the organization; empty for none.
    pub group: &'a str,
    /// Addresses and DNS names under which it serves.
    pub hosts: &'a [&'a str],
}

impl Pki {
    /// A new authority, with the key that signs tokens of service accounts (`service-accounts.key`, `.pub`).
    pub fn new(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("authority", "");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pki = Self { directory, authority };
        pki.write("authority.crt", &pki.authority.pem())?;
        pki.write("authority.key", &pki.authority.key().serialize_pem())?;
        let tokens = KeyPair::generate()?;
        pki.write("service-accounts.key", &tokens.serialize_pem())?;
        pki.write("service-accounts.pub", &tokens.public_key_pem())?;
        Ok(pki)
    }

    /// A file of the directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// Makes `NAME.crt` and `NAME.key`, good for servers and clients.
    pub fn issue(&self, file: &str, subject: Subject<'_>) -> Result<(String, String)> {
        let hosts: Vec<String> = subject.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).with_context(|| format!("hosts of {file}"))?;
        params.distinguished_name = name(subject.user, subject.group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let (certificate, key) = (params.signed_by(&key, &self.authority)?.pem(), key.serialize_pem());
        self.write(&format!("{file}.crt"), &certificate)?;
        self.write(&format!("{file}.key"), &key)?;
        Ok((certificate, key))
    }

    /// Makes `NAME.kubeconfig` for a user of the server at `url`; it holds all that it needs.
    pub fn kubeconfig(&self, file: &str, user: &str, group: &str, url: &str) -> Result<PathBuf> {
        let (certificate, key) = self.issue(file, Subject { user, group, hosts: &[] })?;
        let base64 = |text: &str| BASE64_STANDARD.encode(text);
        let authority = base64(&self.authority.pem());
        let identity = json!({ "client-certificate-data": base64(&certificate), "client-key-data": base64(&key) });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": url, "certificate-authority-data": authority } }],
            "users": [{ "name": user, "user": identity }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user } }],
            "current-context": "test",
        });
        self.write(&format!("{file}.kubeconfig"), &config.to_string())
    }

    fn write(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Where all of it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn name(user: &str, group: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if !group.is_empty() {
        name.push(DnType::OrganizationName, group);
    }
    name
}
