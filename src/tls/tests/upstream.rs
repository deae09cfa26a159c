//! TLS towards servers: whom we believe, and which files say so.

use super::*;
use crate::config::model::UpstreamTls;
use crate::tls::upstream::{Fingerprint, SystemRoots, build, build_at};

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
