//! What is wrong with files.

use super::*;

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
