//! A certification authority of the test's own, and clients that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tempfile::TempDir;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Issues certificates into a directory of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key on disk.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The certificate itself.
    pub der: Vec<u8>,
    /// What belongs into the two files.
    pem: [String; 2],
}

impl Authority {
    /// A fresh one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self::of(params)
    }

    /// One whose own certificate says this.
    pub fn of(params: CertificateParams) -> Self {
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    /// The authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A file of this name beside it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Where [`Self::revoke`] writes.
    pub fn crl(&self) -> PathBuf {
        self.path("crl.pem")
    }

    /// Writes the list of certificates that no longer count.
    pub fn revoke(&self, certificates: &[&Certificate]) {
        let revoked = certificates.iter().map(|certificate| RevokedCertParams {
            serial_number: certificate.serial(),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        fs::write(self.crl(), list.pem().unwrap()).unwrap();
    }

    /// A certificate for these names and addresses, in files called after the first.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_as(names[0], names)
    }

    /// A certificate in files called `file`; an earlier one of that name is replaced.
    pub fn issue_as(&self, file: &str, names: &[&str]) -> Certificate {
        self.issue_with(file, names, |_| ())
    }

    /// The same, with this said otherwise in the certificate.
    pub fn issue_with(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = Certificate {
            cert: self.directory.path().join(format!("{file}.crt")),
            key: self.directory.path().join(format!("{file}.key")),
            der: certificate.der().to_vec(),
            pem: [certificate.pem(), key.serialize_pem()],
        };
        pair.write();
        pair
    }

    /// A client that trusts this authority and shows no certificate.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::new(
            ClientConfig::builder()
                .with_root_certificates(self.roots())
                .with_no_client_auth(),
        )
    }

    /// The same, speaking one version only.
    pub fn client_of_version(
        &self,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        Arc::new(
            ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(self.roots())
                .with_no_client_auth(),
        )
    }

    /// A client that takes whatever certificate it is shown, so that a test can look at it.
    pub fn client_of_any_name(&self) -> Arc<ClientConfig> {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let verifier = Arc::new(Anyone(provider));
        let builder = ClientConfig::builder().dangerous();
        let mut config = builder
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// A client that trusts this authority and shows `certificate`.
    pub fn client_with(&self, certificate: &Certificate) -> Arc<ClientConfig> {
        let (chain, key) = certificate.identity();
        Arc::new(
            ClientConfig::builder()
                .with_root_certificates(self.roots())
                .with_client_auth_cert(chain, key)
                .unwrap(),
        )
    }

    /// A server that shows this authority's own certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.issuer.key().serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.issuer.der().clone()], key);
        Arc::new(config.unwrap())
    }

    /// A server that shows `certificate` and asks for none.
    pub fn server_with(&self, certificate: &Certificate) -> Arc<ServerConfig> {
        let (chain, key) = certificate.identity();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }

    /// A server that shows `certificate` and takes only clients of this authority.
    pub fn demanding_server_with(&self, certificate: &Certificate) -> Arc<ServerConfig> {
        let (chain, key) = certificate.identity();
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

impl Certificate {
    /// Puts both files in place; a reader between the two sees a pair that does not fit.
    pub fn write(&self) {
        fs::write(&self.cert, &self.pem[0]).unwrap();
        fs::write(&self.key, &self.pem[1]).unwrap();
    }

    fn identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::from_pem_slice(self.pem[1].as_bytes()).unwrap();
        (vec![self.der.clone().into()], key)
    }

    /// Its number.
    fn serial(&self) -> SerialNumber {
        let (_, certificate) = X509Certificate::from_der(&self.der).unwrap();
        SerialNumber::from_slice(certificate.raw_serial())
    }

    /// As `listener.tls.certificates` lists it.
    pub fn toml(&self) -> String {
        format!(
            "{{ cert = \"{}\", key = \"{}\" }}",
            show(&self.cert),
            show(&self.key)
        )
    }
}

fn show(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Believes any certificate, but not a signature that its key did not make.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
