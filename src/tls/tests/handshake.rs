//! Which certificate a client is shown, what is agreed to, and what a ticket is worth.

use super::*;

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
