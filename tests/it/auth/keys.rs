//! The keys that tokens are checked with.

use std::fs;

use crate::support::frame::{Frame, TEXT};
use crate::support::proxy::tidegate;
use crate::support::tokens::Issuer;

use super::{Gate, bearer};

#[test]
fn a_reload_takes_another_key_and_leaves_live_sessions_alone() {
    let mut gate = Gate::new();
    let old = gate.token();
    let mut live = gate.proxy.connect();
    live.send(bearer(&old).bytes());
    assert_eq!(live.answer().status, 101);
    gate.issuer.change_key();
    gate.proxy.reload();
    gate.refuses("the old key", &bearer(&old));
    gate.admits(&bearer(&gate.token()));
    live.send_frame(&Frame::client(TEXT, "untouched"));
    assert_eq!(live.frame().text(), "untouched");
}

#[test]
fn a_key_that_does_not_fit_is_told_at_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ed = issuer.file().display().to_string();
    let rows = [
        (
            format!("algorithms = \"ES256\", key_file = \"{ed}\""),
            "jwt.pem is no key for ES256, which takes an elliptic curve key on P-256",
        ),
        (
            format!("algorithms = \"RS256\", key_file = \"{ed}\""),
            "jwt.pem is no key for RS256, which takes an RSA key of 2048 to 8192 bits",
        ),
        (
            format!(
                "algorithms = \"EdDSA\", key_file = \"{}\"",
                file("empty.pem", "")
            ),
            "empty.pem holds no public key",
        ),
        (
            format!(
                "algorithms = \"HS256\", secret_file = \"{}\"",
                file("empty", "\n")
            ),
            "empty is no key for HS256, which takes a secret",
        ),
        (
            "algorithms = \"EdDSA\", key_file = \"gone.pem\"".to_owned(),
            "gone.pem can't be read",
        ),
    ];
    for (jwt, expected) in rows {
        let toml = format!(
            "[listener.public]\nbind = \"127.0.0.1:0\"\n[[route]]\nname = \"chat\"\nrespond = 404\n\
             auth.jwt = {{ {jwt} }}\n"
        );
        let config = file("tidegate.toml", &toml);
        let output = tidegate(&["check", "-c", &config]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{jwt}");
        let place = format!("{config}:6:");
        assert!(
            errors.starts_with(&place) && errors.contains("route.chat.auth.jwt."),
            "{errors}"
        );
        assert!(errors.contains(expected), "{errors}");
    }
}
