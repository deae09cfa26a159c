//! Who may come in by a token (CONTRACT 2 `[route.auth.jwt]`, ATTACKS L04 to L10 and L14).

mod keys;
mod tokens;
mod user;

use crate::support::frame::{Frame, TEXT};
use crate::support::tokens::Issuer;
use crate::support::{Answer, Echo, Request, Setup, Tidegate};

const EVERYWHERE: &str = r#"["header", "cookie:session", "query:token", "subprotocol"]"#;

/// A proxy that asks for a token, and who issues it.
struct Gate {
    proxy: Tidegate,
    echo: Echo,
    issuer: Issuer,
}

impl Gate {
    fn new() -> Self {
        Self::with("")
    }

    /// With these lines in `[route.auth.jwt]` too.
    fn with(lines: &str) -> Self {
        let (echo, issuer) = (Echo::start(), Issuer::new());
        let setup = Setup::to(&[&echo]).with("log", "level = \"trace\"");
        let setup = asking(setup, &issuer).with("route.auth.jwt", lines);
        Self {
            proxy: Tidegate::start(&setup),
            echo,
            issuer,
        }
    }

    fn token(&self) -> String {
        self.issuer.token("ann", 600)
    }

    #[track_caller]
    fn admits(&self, request: &Request) -> Answer {
        let mut connection = self.proxy.connect();
        connection.send(request.bytes());
        let answer = connection.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        connection.send_frame(&Frame::client(TEXT, "hello"));
        assert_eq!(connection.frame().text(), "hello");
        answer
    }

    #[track_caller]
    fn refuses(&self, case: &str, request: &Request) -> Answer {
        let before = self.echo.accepted();
        let answer = self.proxy.send(request.bytes());
        assert_eq!(answer.status, 401, "{case}: {answer:?}");
        assert_eq!(answer.body.trim_end().lines().count(), 1, "{case}");
        assert_eq!(
            self.echo.accepted(),
            before,
            "{case}: a backend heard of it"
        );
        answer
    }
}

fn asking(setup: Setup, issuer: &Issuer) -> Setup {
    setup.with("route.auth.jwt", &issuer.toml(EVERYWHERE))
}

fn bearer(token: &str) -> Request {
    Request::upgrade().with(format!("Authorization: Bearer {token}"))
}
