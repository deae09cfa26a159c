//! Handshakes in memory against what `build` makes of files in a temporary folder.

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

// Certificates by name.

#[test]
fn sni_picks_the_certificate_and_the_first_is_the_default() {
    let lab = Lab::new();
    let first = lab.certificate(&["a.example", "127.0.0.1"]);
    let second = lab.certificate(&["b.example", "*.b.example"]);
    let third = lab.certificate(&["special.b.example"]);
    let server = server(&listener(vec![
        first.clone(),
        second.clone(),
        third.clone(),
    ]));
    for (name, certificate) in [
        ("a.example", &first),
        ("b.example", &second),
        ("B.EXAMPLE", &second),
        ("x.b.example", &second),
        ("special.b.example", &third),
        ("127.0.0.1", &first),
    ] {
        let shaken = shake(&lab.client(), &server, name).unwrap();
        assert_eq!(shaken.shown_certificate(), leaf(certificate), "{name}");
    }
}

#[test]
fn an_unknown_name_is_shown_the_first_certificate() {
    let lab = Lab::new();
    let server = server(&listener(vec![
        lab.certificate(&["a.example"]),
        lab.certificate(&["*.b.example"]),
    ]));
    for name in ["other.example", "x.y.b.example", "b.example"] {
        let refused = shake(&lab.client(), &server, name).map(drop).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("a.example"), "{name}: {refused}");
    }
}

#[test]
fn a_name_with_two_kinds_of_key_serves_each_client_the_kind_it_takes() {
    let lab = Lab::new();
    let ecdsa = lab.certificate(&["a.example"]);
    let ed25519 = Certificate {
        cert: lab.file("ed.crt"),
        key: lab.file("ed.key"),
    };
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    fs::write(
        &ed25519.cert,
        params.signed_by(&key, &lab.ca).unwrap().pem(),
    )
    .unwrap();
    fs::write(&ed25519.key, key.serialize_pem()).unwrap();
    let server = server(&listener(vec![ed25519.clone(), ecdsa.clone()]));

    let shaken = shake(&lab.client(), &server, "a.example").unwrap();
    assert_eq!(shaken.shown_certificate(), leaf(&ed25519));

    let mut provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let ecdsa_only: Vec<_> = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == rustls::SignatureScheme::ECDSA_NISTP256_SHA256)
        .copied()
        .collect();
    provider.signature_verification_algorithms.mapping = Vec::leak(ecdsa_only);
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(Arc::clone(&lab.roots))
        .with_no_client_auth();
    let shaken = shake(&client, &server, "a.example").unwrap();
    assert_eq!(shaken.shown_certificate(), leaf(&ecdsa));
}

// What is negotiated.

#[test]
fn the_key_exchange_is_post_quantum_where_the_client_can() {
    let lab = Lab::new();
    let server = server(&listener(vec![lab.certificate(&["a.example"])]));
    let shaken = shake(&lab.client(), &server, "a.example").unwrap();
    let group = shaken
        .server
        .negotiated_key_exchange_group()
        .unwrap()
        .name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(
        shaken.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
}

#[test]
fn tls_1_2_is_spoken_unless_1_3_is_the_least() {
    let lab = Lab::new();
    let mut tls = listener(vec![lab.certificate(&["a.example"])]);
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(Arc::clone(&lab.roots))
        .with_no_client_auth();
    let shaken = shake(&client, &server(&tls), "a.example").unwrap();
    assert_eq!(
        shaken.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );

    tls.min_version = TlsVersion::V1_3;
    let refused = shake(&client, &server(&tls), "a.example");
    assert_eq!(alert(refused), AlertDescription::ProtocolVersion);
}

#[test]
fn only_http_1_1_is_agreed_to() {
    let lab = Lab::new();
    let server = server(&listener(vec![lab.certificate(&["a.example"])]));
    let offer = |protocols: &[&[u8]]| {
        let mut client = lab.client();
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        shake(&client, &server, "a.example")
    };
    let agreed = offer(&[b"h2", b"http/1.1"]).unwrap();
    assert_eq!(agreed.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(offer(&[]).unwrap().server.alpn_protocol(), None);
    for foreign in [&b"h2"[..], b"smtp"] {
        assert_eq!(
            alert(offer(&[foreign])),
            AlertDescription::NoApplicationProtocol
        );
    }
}

#[test]
fn early_data_is_not_offered() {
    let lab = Lab::new();
    let server = server(&listener(vec![lab.certificate(&["a.example"])]));
    assert_eq!(server.max_early_data_size, 0);
}

// Resumption.

#[test]
fn a_session_resumes_after_a_reload_with_the_same_ticketer() {
    let lab = Lab::new();
    let tls = listener(vec![lab.certificate(&["a.example"])]);
    let ticketer = ticketer().unwrap();
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&lab.roots))
            .with_no_client_auth();
        let kinds = [(); 3].map(|()| {
            let server = build(&tls, Arc::clone(&ticketer)).unwrap();
            shake(&client, &server, "a.example")
                .unwrap()
                .server
                .handshake_kind()
        });
        assert_ne!(kinds[0], Some(HandshakeKind::Resumed));
        assert_eq!(
            kinds[1..],
            [Some(HandshakeKind::Resumed); 2],
            "{versions:?}"
        );
    }
}

#[test]
fn a_ticket_of_another_ticketer_is_worth_nothing() {
    let lab = Lab::new();
    let tls = listener(vec![lab.certificate(&["a.example"])]);
    let client = lab.client();
    for _ in 0..3 {
        let shaken = shake(&client, &server(&tls), "a.example").unwrap();
        assert_ne!(shaken.server.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_ticket_from_an_open_listener_does_not_open_one_that_asks_for_certificates() {
    let lab = Lab::new();
    let open = listener(vec![lab.certificate(&["a.example"])]);
    let closed = Tls {
        client_auth: ClientAuth::Require {
            ca: lab.file("ca.pem"),
        },
        ..open.clone()
    };
    let ticketer = ticketer().unwrap();
    let client = lab.client();
    shake(
        &client,
        &build(&open, Arc::clone(&ticketer)).unwrap(),
        "a.example",
    )
    .unwrap();
    let refused = shake(&client, &build(&closed, ticketer).unwrap(), "a.example");
    assert_eq!(alert(refused), AlertDescription::CertificateRequired);
}

// Client certificates.

#[test]
fn client_certificates_are_asked_for_as_configured() {
    let lab = Lab::new();
    let mut tls = listener(vec![lab.certificate(&["a.example"])]);
    let ours = lab.client_with(&lab.signed(&lab.ca, &["ours"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }));
    let foreign = lab.client_with(&lab.signed(&authority().1, &["foreign"], |_| ()));
    let nobody = lab.client();
    let come_in = |tls: &Tls, client: &ClientConfig| {
        let mut client = client.clone();
        client.resumption = Resumption::disabled();
        let shaken = shake(&client, &server(tls), "a.example")?;
        Ok::<_, rustls::Error>(shaken.server.peer_certificates().is_some())
    };

    assert_eq!(come_in(&tls, &ours), Ok(false));
    tls.client_auth = ClientAuth::Optional {
        ca: lab.file("ca.pem"),
    };
    assert_eq!(come_in(&tls, &ours), Ok(true));
    assert_eq!(come_in(&tls, &nobody), Ok(false));
    come_in(&tls, &foreign).unwrap_err();
    tls.client_auth = ClientAuth::Require {
        ca: lab.file("ca.pem"),
    };
    assert_eq!(come_in(&tls, &ours), Ok(true));
    come_in(&tls, &nobody).unwrap_err();
    come_in(&tls, &foreign).unwrap_err();
}

#[test]
fn a_client_certificate_past_its_time_or_for_another_use_is_refused() {
    let lab = Lab::new();
    let mut tls = listener(vec![lab.certificate(&["a.example"])]);
    tls.client_auth = ClientAuth::Optional {
        ca: lab.file("ca.pem"),
    };
    let adjustments: [fn(&mut CertificateParams); 3] = [
        |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1),
        |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1),
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
    ];
    for adjust in adjustments {
        let client = lab.client_with(&lab.signed(&lab.ca, &["client"], adjust));
        shake(&client, &server(&tls), "a.example")
            .map(drop)
            .unwrap_err();
    }
}

// What is wrong with files.

#[test]
fn every_fault_is_told_with_its_file_and_all_at_once() {
    let lab = Lab::new();
    let good = lab.certificate(&["good.example"]);
    let missing = Certificate {
        cert: lab.file("gone.crt"),
        key: lab.file("gone.key"),
    };
    let mut tls = listener(vec![missing, good, lab.certificate(&["x"])]);
    fs::write(lab.file("x.key"), "").unwrap();
    tls.client_auth = ClientAuth::Require {
        ca: lab.file("gone.pem"),
    };
    let errors = errors(&tls);
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    for (text, file) in texts
        .iter()
        .zip(["gone.crt", "gone.key", "x.key", "gone.pem"])
    {
        assert!(text.contains(file), "{texts:?}");
    }
    assert_eq!(texts.len(), 4, "{texts:?}");
}

/// The one error of a listener whose only certificate was spoilt.
fn fault(spoil: impl FnOnce(&Lab, &Certificate)) -> Error {
    let lab = Lab::new();
    let certificate = lab.certificate(&["a.example"]);
    spoil(&lab, &certificate);
    let mut errors = errors(&listener(vec![certificate]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn truncate(file: &PathBuf) {
    let text = fs::read(file).unwrap();
    fs::write(file, &text[..text.len() / 2]).unwrap();
}

#[test]
fn half_a_file_is_refused() {
    assert!(matches!(fault(|_, c| truncate(&c.cert)), Error::Pem { .. }));
    assert!(matches!(fault(|_, c| truncate(&c.key)), Error::Pem { .. }));
}

#[test]
fn a_chain_whose_second_certificate_is_cut_is_refused() {
    let error = fault(|_, c| {
        let whole = fs::read_to_string(&c.cert).unwrap();
        fs::write(&c.cert, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
    });
    assert!(matches!(error, Error::Pem { .. }));
}

#[test]
fn an_empty_file_holds_no_certificate_and_no_key() {
    assert!(matches!(
        fault(|_, c| fs::write(&c.cert, "").unwrap()),
        Error::NoCertificate { .. }
    ));
    assert!(matches!(
        fault(|_, c| fs::write(&c.key, "").unwrap()),
        Error::NoKey { .. }
    ));
}

#[test]
fn certificate_and_key_exchanged_are_recognised() {
    let lab = Lab::new();
    let Certificate { cert, key } = lab.certificate(&["a.example"]);
    let errors = errors(&listener(vec![Certificate {
        cert: key,
        key: cert,
    }]));
    assert!(matches!(
        errors[..],
        [Error::NoCertificate { .. }, Error::NoKey { .. }]
    ));
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let error = fault(|lab, c| {
        let other = lab.certificate(&["b.example"]);
        fs::copy(other.key, &c.key).unwrap();
    });
    assert!(matches!(error, Error::KeyMismatch { .. }));
}

#[test]
fn encrypted_keys_are_refused_with_the_way_out() {
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n\
         -----END RSA PRIVATE KEY-----\n",
    ] {
        let error = fault(|_, c| fs::write(&c.key, text).unwrap());
        assert!(matches!(error, Error::EncryptedKey { .. }), "{error:?}");
        assert!(error.to_string().contains("openssl pkey"));
    }
}

#[test]
fn an_expired_certificate_is_refused() {
    let lab = Lab::new();
    let expired = lab.signed(&lab.ca, &["a.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let tls = listener(vec![expired]);
    let build_in = |year_seconds: u64| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(year_seconds);
        build_at(&tls, ticketer().unwrap(), now)
    };
    let midnight = 1_609_459_200;
    assert!(build_in(midnight).is_ok());
    let errors = build_in(midnight + 1).unwrap_err();
    assert!(matches!(errors[..], [Error::Expired { .. }]), "{errors:?}");
    assert!(errors[0].to_string().contains("2021"), "{errors:?}");
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let error = fault(|_, c| {
        fs::remove_file(&c.cert).unwrap();
        fs::create_dir(&c.cert).unwrap();
    });
    assert!(matches!(error, Error::NotAFile { .. }));
    for device in ["/dev/zero", "/dev/stdin"] {
        let tls = listener(vec![Certificate {
            cert: device.into(),
            key: device.into(),
        }]);
        let errors = errors(&tls);
        assert!(matches!(errors[..], [_, _]), "{errors:?}");
    }
}

#[test]
fn a_huge_file_is_not_read_to_its_end() {
    let error = fault(|_, c| fs::write(&c.cert, vec![b'\n'; 2 << 20]).unwrap());
    assert!(matches!(error, Error::TooLarge { .. }));
}

#[test]
fn garbage_in_good_pem_is_refused() {
    let error = fault(|_, c| {
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&c.cert, text).unwrap();
    });
    assert!(matches!(error, Error::MalformedCertificate { .. }));
    let error = fault(|_, c| {
        let text = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        fs::write(&c.key, text).unwrap();
    });
    assert!(matches!(error, Error::UnusableKey { .. }));
}

mod upstream {
    use super::super::upstream::{Fingerprint, SystemRoots, build, build_at};
    use super::*;
    use crate::config::model::UpstreamTls;

    fn believing(lab: &Lab) -> UpstreamTls {
        UpstreamTls {
            server_name: None,
            ca: Some(lab.file("ca.pem")),
            client_certificate: None,
            insecure: false,
        }
    }

    fn built(tls: &UpstreamTls) -> (ClientConfig, Fingerprint) {
        build(tls, &SystemRoots::default()).unwrap()
    }

    #[test]
    fn a_server_of_the_right_authority_and_name_is_believed() {
        let lab = Lab::new();
        let server = server(&listener(vec![lab.certificate(&["a.example"])]));
        let (client, _) = built(&believing(&lab));
        assert!(shake(&client, &server, "a.example").is_ok());
        assert!(shake(&client, &server, "b.example").is_err());
        let (client, _) = built(&believing(&Lab::new()));
        assert!(shake(&client, &server, "a.example").is_err());
        let insecure = UpstreamTls {
            insecure: true,
            ..believing(&Lab::new())
        };
        assert!(shake(&built(&insecure).0, &server, "b.example").is_ok());
    }

    #[test]
    fn the_fingerprint_tells_apart_what_was_read() {
        let lab = Lab::new();
        let plain = believing(&lab);
        let known = UpstreamTls {
            client_certificate: Some(lab.certificate(&["proxy"])),
            ..plain.clone()
        };
        let insecure = UpstreamTls {
            insecure: true,
            ..plain.clone()
        };
        let fingerprint = |tls: &UpstreamTls| built(tls).1;
        let all = [&plain, &known, &insecure].map(fingerprint);
        assert_eq!(all, [&plain, &known, &insecure].map(fingerprint));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        // Renewed under the same name.
        lab.certificate(&["proxy"]);
        assert_ne!(fingerprint(&known), all[1]);
    }

    #[test]
    fn every_fault_of_the_files_is_told() {
        let lab = Lab::new();
        let [own, other] = ["proxy", "other"].map(|name| lab.certificate(&[name]));
        fs::write(lab.file("garbage.pem"), "garbage").unwrap();
        let tls = UpstreamTls {
            ca: Some(lab.file("garbage.pem")),
            client_certificate: Some(Certificate {
                cert: own.cert,
                key: other.key,
            }),
            ..believing(&lab)
        };
        let errors = build(&tls, &SystemRoots::default()).unwrap_err();
        assert!(
            matches!(
                errors.as_slice(),
                [Error::NoCertificate { .. }, Error::KeyMismatch { .. }]
            ),
            "{errors:?}"
        );
        let later = SystemTime::now() + Duration::from_secs(100 * 366 * 24 * 3600);
        let tls = UpstreamTls {
            client_certificate: Some(lab.signed(&lab.ca, &["brief"], |params| {
                params.not_after = rcgen::date_time_ymd(2040, 1, 1);
            })),
            ..believing(&lab)
        };
        let errors = build_at(&tls, &SystemRoots::default(), later).unwrap_err();
        assert!(matches!(errors.as_slice(), [Error::Expired { .. }]));
    }
}
