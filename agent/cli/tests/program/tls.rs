//! Stores behind TLS: a private authority is trusted where it is named, and nothing else is.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{machine::Machine, server::Server};

/// The name that the tests' client asks for.
const NAME: &str = "127.0.0.1";

/// What a server shows.
struct Shown {
    tls: ServerConfig,
    /// The certificate of its authority.
    authority: String,
}

/// A certificate for a name of a new authority; `change` makes it a bad one.
fn shown(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Shown {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let mut server = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    change(&mut server);
    let key = KeyPair::generate().expect("a key");
    let signed = server.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], secret)
        .expect("a key that fits");
    Shown { tls, authority: pem }
}

#[test]
fn a_private_authority_is_trusted_where_the_url_or_ssl_cert_file_names_it() {
    let machine = Machine::new();
    machine.write_source();
    let Shown { tls, authority } = shown(NAME, |_| ());
    let file = machine.write("authority.pem", authority);
    let server = Server::start(&machine, Some(tls));
    let named = server.url(&format!("&ca_cert={}", file.display()));
    machine.succeed(&["volume", "backup", "src", "--repo", &named]);
    machine.succeed(&["volume", "restore", "latest", "out", "--repo", &named]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
    let restore = ["volume", "restore", "latest", "again", "--repo", &server.url("")];
    let ran = machine.ran(machine.command(&restore).env("SSL_CERT_FILE", &file).output().expect("the program starts"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(machine.tree("again"), machine.tree("src"));
}

/// What of a URL makes a machine know an authority.
type Knows<'a> = &'a dyn Fn(&Machine, &Shown) -> String;

#[test]
fn a_certificate_that_is_refused_is_told_at_once_with_what_mends_it() {
    let unknown = "is of an authority that this machine does not know; name its PEM file with ca_cert=FILE in the URL, or with SSL_CERT_FILE";
    let expired = "is out of date (certificate expired: ";
    let other_name = "is for another name (certificate not valid for name \"127.0.0.1\"";
    let past = |certificate: &mut CertificateParams| {
        (certificate.not_before, certificate.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    };
    let knows = |machine: &Machine, shown: &Shown| {
        let file = machine.write("authority.pem", &shown.authority);
        format!("&ca_cert={}", file.display())
    };
    let stranger = |machine: &Machine, _: &Shown| knows(machine, &shown(NAME, |_| ()));
    let nobody = |_: &Machine, _: &Shown| String::new();
    let cases: [(Shown, Knows<'_>, &str, &str); 4] = [
        (shown(NAME, |_| ()), &nobody, unknown, ""),
        (shown(NAME, |_| ()), &stranger, unknown, ""),
        (shown(NAME, past), &knows, expired, "; renew it, or set the clock of this machine"),
        (
            shown("store.example", |_| ()),
            &knows,
            other_name,
            "; use a name that it holds in endpoint, or have the name added to it",
        ),
    ];
    for (shown, knows, begins, ends) in cases {
        let machine = Machine::new();
        fs::create_dir(machine.path("src")).expect("a directory");
        let parameters = knows(&machine, &shown);
        let server = Server::start(&machine, Some(shown.tls));
        let url = server.url(&parameters);
        let refused = machine.refused(&["volume", "backup", "src", "--repo", &url]);
        let expected = format!("the store is not trusted: {}: its certificate {begins}", server.endpoint());
        assert!(refused.contains(&expected) && refused.ends_with(ends), "{refused}");
        assert_eq!(server.connections(), 1, "it is not tried again: {refused}");
        assert_eq!(server.take_requests(), [""; 0]);
    }
}
