//! Files that change, and files that are wrong.

use std::fs;
use std::path::Path;

use crate::support::certificates::Authority;
use crate::support::log::Line;
use crate::support::proxy::Reload;
use crate::support::{Echo, Tidegate};

use super::{client_pair, good_server, over_tls, upgrade};

#[test]
fn a_renewed_authority_is_seen_and_taken_up_and_live_sessions_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    let shown = old.issue(&["127.0.0.1"]);
    let echo = Echo::secure(old.server_with(&shown));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    let publish = |authority: &Authority| {
        let next = folder.path().join("roots.pem.new");
        fs::copy(authority.file(), &next).unwrap();
        fs::rename(next, &file).unwrap();
    };
    publish(&old);
    let lines = format!("ca = \"{}\"", file.display());
    let setup = over_tls(&echo, &lines).with("server", "watch = true");
    let proxy = Tidegate::start(&setup);
    let mut live = proxy.websocket("/");
    let mark = proxy.log().mark();
    publish(&new);
    assert_eq!(proxy.reloaded_since(mark), Reload::Done);
    assert_eq!(upgrade(&proxy).status, 502);
    live.echo("still here");
    let mark = proxy.log().mark();
    publish(&old);
    assert_eq!(proxy.reloaded_since(mark), Reload::Done);
    proxy.websocket("/").echo("believed again");
}

#[test]
fn a_file_that_cannot_be_used_refuses_the_whole_reload_and_is_told_at_its_key() {
    let authority = Authority::new();
    let (echo, _) = good_server(&authority);
    let own = authority.issue(&["proxy"]);
    let other = authority.issue(&["other"]);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::copy(authority.file(), &roots).unwrap();
    let lines = format!("ca = \"{}\"\n{}", roots.display(), client_pair(&own));
    let proxy = Tidegate::start(&over_tls(&echo, &lines));
    let read = |path: &Path| fs::read(path).unwrap();
    let half = |path: &Path| read(path)[..300].to_vec();
    for (file, content, key, complaint) in [
        (&roots, half(&roots), "tls.ca", "not whole PEM"),
        (&roots, Vec::new(), "tls.ca", "holds no certificate"),
        (
            &own.cert,
            half(&own.cert),
            "tls.client_cert",
            "not whole PEM",
        ),
        (
            &own.key,
            read(&other.key),
            "tls.client_key",
            "is not the key",
        ),
        (
            &own.key,
            encrypted(&own.key),
            "tls.client_key",
            "is encrypted",
        ),
    ] {
        let before = read(file);
        fs::write(file, content).unwrap();
        let mark = proxy.log().mark();
        assert_eq!(proxy.reload(), Reload::Refused, "{complaint}");
        let wanted = |line: &Line| {
            line.message() == "in the new configuration"
                && line.str("error").is_some_and(|error| {
                    error.contains(complaint)
                        && error.contains(&format!("upstream.echo.{key} = "))
                        && error.contains("tidegate.toml:")
                })
        };
        proxy.log().wait_for(mark, complaint, wanted);
        fs::write(file, before).unwrap();
        proxy.websocket("/").echo("as before");
    }
    fs::remove_file(&roots).unwrap();
    assert_eq!(proxy.reload(), Reload::Refused);
}

/// The same key behind a passphrase.
fn encrypted(key: &Path) -> Vec<u8> {
    let output = std::process::Command::new("openssl")
        .args([
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-256-cbc",
            "-passout",
            "pass:secret",
            "-in",
        ])
        .arg(key)
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}
