//! Handshakes in memory against what `build` makes of files in a temporary folder.

mod client_auth;
mod files;
mod handshake;
mod upstream;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion,
    RootCertStore, ServerConfig, ServerConnection,
};
use tempfile::TempDir;

use super::*;
use crate::config::model::{Certificate, ClientAuth};

type Issuing = Issuer<'static, KeyPair>;

/// A folder with a certificate authority and what it has signed.
struct Lab {
    folder: TempDir,
    ca: Issuing,
    roots: Arc<RootCertStore>,
}

impl Lab {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (pem, ca) = authority();
        fs::write(folder.path().join("ca.pem"), &pem).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        Self {
            folder,
            ca,
            roots: Arc::new(roots),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for these names and writes it to files called after the first.
    fn certificate(&self, names: &[&str]) -> Certificate {
        self.signed(&self.ca, names, |_| ())
    }

    fn signed(
        &self,
        ca: &Issuing,
        names: &[&str],
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, ca).unwrap();
        let paths = Certificate {
            cert: self.file(&format!("{}.crt", names[0])),
            key: self.file(&format!("{}.key", names[0])),
        };
        fs::write(&paths.cert, cert.pem()).unwrap();
        fs::write(&paths.key, key.serialize_pem()).unwrap();
        paths
    }

    fn client(&self) -> ClientConfig {
        client_builder(&self.roots).with_no_client_auth()
    }

    fn client_with(&self, certificate: &Certificate) -> ClientConfig {
        let chain = CertificateDer::pem_file_iter(&certificate.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        client_builder(&self.roots)
            .with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key)
            .unwrap()
    }
}

fn authority() -> (String, Issuing) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

fn client_builder(
    roots: &Arc<RootCertStore>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(Arc::clone(roots))
}

fn listener(certificates: Vec<Certificate>) -> Tls {
    Tls {
        certificates,
        min_version: TlsVersion::V1_2,
        handshake_timeout: Duration::from_secs(10),
        client_auth: ClientAuth::Off,
        client_crl: None,
    }
}

fn server(tls: &Tls) -> Arc<ServerConfig> {
    build(tls, ticketer().unwrap()).unwrap()
}

fn errors(tls: &Tls) -> Vec<Error> {
    build(tls, ticketer().unwrap()).unwrap_err()
}

/// Both ends after their handshake.
struct Shaken {
    client: ClientConnection,
    server: ServerConnection,
}

impl Shaken {
    fn shown_certificate(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    }
}

/// Carries bytes between the two ends until neither has more to say.
fn shake(
    client: &ClientConfig,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<Shaken, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client.clone()), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = vec![];
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let refused = feed(&wire, |chunk| {
            server.read_tls(chunk).unwrap();
            server.process_new_packets().map(drop)
        });
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |chunk| {
            client.read_tls(chunk).unwrap();
            client.process_new_packets().map(drop)
        })?;
        refused?;
    }
    Ok(Shaken { client, server })
}

fn feed(
    mut wire: &[u8],
    mut read: impl FnMut(&mut &[u8]) -> Result<(), rustls::Error>,
) -> Result<(), rustls::Error> {
    while !wire.is_empty() {
        read(&mut wire)?;
    }
    Ok(())
}

fn leaf(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&certificate.cert).unwrap()
}

fn alert(result: Result<Shaken, rustls::Error>) -> AlertDescription {
    match result.map(drop) {
        Err(rustls::Error::AlertReceived(alert)) => alert,
        other => panic!("expected an alert, got {other:?}"),
    }
}
