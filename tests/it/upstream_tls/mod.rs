//! TLS towards servers (CONTRACT 2: `upstream.tls`): whom we believe, who we say we are, what is
//! resumed, and what becomes of a server that can't be trusted.

mod checks;
mod identity;
mod reload;
mod spoken;
mod trust;

use std::fmt::Display;

use crate::support::certificates::{Authority, Certificate};
use crate::support::{Answer, Backend, Echo, Request, Setup, Tidegate};

const FAILURES: &str = "tidegate_server_failures_total";

/// In front of this server, over TLS as these lines say.
fn over_tls(server: impl Display, lines: &str) -> Setup {
    Setup::to(&[server]).with("upstream.echo.tls", lines)
}

fn ca(authority: &Authority) -> String {
    format!("ca = \"{}\"", authority.file().display())
}

fn client_pair(certificate: &Certificate) -> String {
    let [cert, key] = [&certificate.cert, &certificate.key].map(|path| path.display());
    format!("client_cert = \"{cert}\"\nclient_key = \"{key}\"")
}

/// A server that shows a certificate for its address, and the lines to believe it with.
fn good_server(authority: &Authority) -> (Echo, String) {
    let certificate = authority.issue(&["127.0.0.1"]);
    let echo = Echo::secure(authority.server_with(&certificate));
    (echo, ca(authority))
}

fn upgrade(proxy: &Tidegate) -> Answer {
    proxy.send(Request::upgrade().bytes())
}

#[track_caller]
fn fails_over_tls(proxy: &Tidegate, times: f64) {
    proxy.wait_for_metric(FAILURES, &[("phase", "tls")], times);
}

/// A server that takes a TLS hello for a bad request.
fn plaintext() -> Backend {
    Backend::script(|mut visit| {
        (visit.connection).send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        visit.hold();
    })
}
