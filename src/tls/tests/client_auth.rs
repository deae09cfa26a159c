//! Client certificates.

use super::*;

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
