//! Who may come in by certificate, and how the backend hears of it (CONTRACT 2
//! `listener.tls.client_auth`, ATTACKS H08).

use std::fs;
use std::sync::Arc;

use rcgen::{DnType, ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use rustls::ClientConfig;
use serde_json::Value;

use crate::support::backend::field;
use crate::support::certificates::{Authority, Certificate};
use crate::support::proxy::{Reload, tidegate};
use crate::support::wait::wait_for;
use crate::support::{Answer, Echo, Request, Setup, Tidegate};

/// A proxy that asks for certificates of one authority.
struct Gate {
    proxy: Tidegate,
    echo: Echo,
    authority: Authority,
    setup: Setup,
}

impl Gate {
    fn new(lines: &str) -> Self {
        let (echo, authority) = (Echo::start(), Authority::new());
        let certificate = authority.issue(&["localhost"]);
        let lines = format!(
            "certificates = [{}]\nclient_ca = \"{}\"\n{lines}",
            certificate.toml(),
            authority.file().display()
        );
        let setup = Setup::to(&[&echo])
            .with("listener.public.tls", &lines)
            .with(
                "log",
                &format!("access = \"{}\"", authority.path("access.log").display()),
            );
        Self {
            proxy: Tidegate::start(&setup),
            echo,
            authority,
            setup,
        }
    }

    /// The answer to an upgrade; nothing where TLS did not come to its end.
    fn answer(&self, config: &Arc<ClientConfig>, request: &Request) -> Option<Answer> {
        let mut connection = self.proxy.connect_tls("localhost", config);
        connection.try_send(request.bytes()).ok()?;
        connection.read_answer()
    }

    #[track_caller]
    fn refuses(&self, case: &str, certificate: &Certificate) {
        let before = self.echo.accepted();
        let config = self.authority.client_with(certificate);
        let answer = self.answer(&config, &Request::upgrade());
        assert!(answer.is_none(), "{case}: {answer:?}");
        assert_eq!(
            self.echo.accepted(),
            before,
            "{case}: a backend heard of it"
        );
    }

    #[track_caller]
    fn admits(&self, certificate: &Certificate) {
        let config = self.authority.client_with(certificate);
        let answer = self
            .answer(&config, &Request::upgrade())
            .expect("an answer");
        assert_eq!(answer.status, 101, "{answer:?}");
    }
}

#[test]
fn a_certificate_that_is_no_good_is_refused_before_any_backend_hears_of_it() {
    let gate = Gate::new("client_auth = \"require\"");
    gate.admits(&gate.authority.issue(&["good"]));
    let expired = gate.authority.issue_with("expired", &["client"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    gate.refuses("expired", &expired);
    let future = gate.authority.issue_with("future", &["client"], |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    gate.refuses("of the future", &future);
    let server = gate.authority.issue_with("server", &["client"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    gate.refuses("for servers", &server);
    gate.refuses("of another authority", &Authority::new().issue(&["good"]));
    let nobody = gate.answer(&gate.authority.client(), &Request::upgrade());
    assert!(nobody.is_none(), "{nobody:?}");
    let tls = [("listener", "public"), ("reason", "tls")];
    gate.proxy
        .wait_for_metric("tidegate_connections_refused_total", &tls, 5.0);
}

#[test]
fn a_revoked_certificate_is_refused_from_the_reload_on_and_its_ticket_too() {
    let (echo, authority) = (Echo::start(), Authority::new());
    authority.revoke(&[]);
    let certificate = authority.issue(&["localhost"]);
    let lines = format!(
        "certificates = [{}]\nclient_auth = \"require\"\nclient_ca = \"{}\"\nclient_crl = \"{}\"",
        certificate.toml(),
        authority.file().display(),
        authority.crl().display()
    );
    let setup = Setup::to(&[&echo]).with("listener.public.tls", &lines);
    let proxy = Tidegate::start(&setup);
    let (stays, goes) = (authority.issue(&["stays"]), authority.issue(&["goes"]));
    let [stays_config, goes_config] = [&stays, &goes].map(|it| authority.client_with(it));
    let answer = |config: &Arc<ClientConfig>| {
        let mut connection = proxy.connect_tls("localhost", config);
        connection.try_send(Request::upgrade().bytes()).ok()?;
        let answer = connection.read_answer()?;
        Some((connection, answer.status))
    };
    let (_live, status) = answer(&goes_config).unwrap();
    assert_eq!(status, 101);
    authority.revoke(&[&goes]);
    assert_eq!(proxy.reload(), Reload::Done);
    assert!(answer(&goes_config).is_none(), "revoked, and comes in");
    let (_other, status) = answer(&stays_config).unwrap();
    assert_eq!(status, 101);
    // The live one is as it was.
    proxy.wait_for_held(&[2]);
    // A list that can't be read changes nothing.
    fs::write(authority.crl(), "nonsense").unwrap();
    assert_eq!(proxy.reload(), Reload::Refused);
    assert!(answer(&goes_config).is_none());
}

#[test]
fn the_backend_hears_whom_the_certificate_names_from_us_alone() {
    let gate = Gate::new("client_auth = \"optional\"");
    let certificate = gate.authority.issue_with("ann", &["client"], |params| {
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Acme, Inc. \"x\"\r\nX-Evil: 1");
        params.subject_alt_names = vec![
            SanType::DnsName("ann.example".try_into().unwrap()),
            SanType::URI("spiffe://acme/ann,URI:spiffe://root".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
        ];
    });
    let forged = Request::upgrade()
        .with("X-Tidegate-Client-Verified: true")
        .with("X_Tidegate_Client_Subject: CN=root")
        .with("X-Tidegate-Client-San: DNS:root");
    let config = gate.authority.client_with(&certificate);
    assert_eq!(gate.answer(&config, &forged).unwrap().status, 101);
    let head = gate.echo.last_head();
    assert_eq!(field(&head, "x-tidegate-client-verified"), Some("true"));
    let subject = r#"O=Acme\, Inc. \"x\"\0d\0aX-Evil: 1,CN=ann"#;
    assert_eq!(field(&head, "x-tidegate-client-subject"), Some(subject));
    let names = r"DNS:ann.example, URI:spiffe://acme/ann\,URI:spiffe://root, IP:192.0.2.1";
    assert_eq!(field(&head, "x-tidegate-client-san"), Some(names));
    assert!(
        !head.contains("root\r\n") && field(&head, "x-evil").is_none(),
        "{head}"
    );
    let line = wait_for("its line", || {
        let text = fs::read_to_string(gate.authority.path("access.log")).unwrap_or_default();
        text.lines().next().map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["client_subject"], subject);
    assert_eq!(line["client_san"], names);

    assert_eq!(
        gate.answer(&gate.authority.client(), &forged)
            .unwrap()
            .status,
        101
    );
    let head = gate.echo.last_head();
    assert_eq!(field(&head, "x-tidegate-client-verified"), Some("false"));
    assert!(
        !head.contains("root") && field(&head, "x-tidegate-client-subject").is_none(),
        "{head}"
    );
    gate.proxy.reload_with(
        &gate
            .setup
            .clone()
            .with("listener.public.tls", "client_auth = \"off\""),
    );
    assert_eq!(gate.answer(&config, &forged).unwrap().status, 101);
    assert!(
        !gate
            .echo
            .last_head()
            .to_lowercase()
            .contains("tidegate-client")
    );
}

#[test]
fn a_revocation_list_that_is_no_use_is_told_at_its_key() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]);
    fs::write(authority.path("empty.pem"), "").unwrap();
    let rows = [
        (
            "gone.pem",
            "client_auth = \"require\"",
            "gone.pem can't be read",
        ),
        (
            "empty.pem",
            "client_auth = \"require\"",
            "empty.pem holds no revocation list",
        ),
        (
            "empty.pem",
            "client_auth = \"off\"",
            "revokes certificates that nobody is asked for",
        ),
    ];
    for (file, auth, expected) in rows {
        let lines = format!(
            "certificates = [{}]\n{auth}\nclient_ca = \"{}\"\nclient_crl = \"{file}\"",
            certificate.toml(),
            authority.file().display()
        );
        let setup = Setup::to(&["127.0.0.1:1"]).with("listener.public.tls", &lines);
        let config = authority.path("tidegate.toml");
        fs::write(&config, setup.toml()).unwrap();
        let output = tidegate(&["check", "-c", config.to_str().unwrap()]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("listener.public.tls.client_crl = "),
            "{errors}"
        );
        assert!(errors.contains(expected), "{errors}");
    }
}
