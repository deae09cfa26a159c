//! What a client has to send before a tunnel opens, and what it hears when it does not
//! (CONTRACT section 3, ATTACKS section A).

mod head;
mod upgrade;

use crate::support::frame::{Frame, TEXT};
use crate::support::{Echo, Request, Tidegate};

/// A proxy in front of a backend that would say yes to anything.
struct Gate {
    proxy: Tidegate,
    echo: Echo,
}

impl Gate {
    fn new() -> Self {
        let echo = Echo::start();
        Self {
            proxy: Tidegate::in_front_of(&[&echo]),
            echo,
        }
    }

    /// Sends each request on a connection of its own; each must be refused with this status, in
    /// one line, the connection closed, and no backend may hear of it.
    #[track_caller]
    fn refuses(&self, status: u16, rows: &[(&str, Request)]) {
        for (name, request) in rows {
            self.refuses_bytes(status, name, &request.bytes());
        }
        self.still_works();
    }

    #[track_caller]
    fn refuses_bytes(&self, status: u16, name: &str, bytes: &[u8]) {
        let before = self.echo.accepted();
        let mut connection = self.proxy.connect();
        connection.send(bytes);
        let answer = connection.read_answer();
        let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(
            answer.body.trim_end().lines().count(),
            1,
            "{name}: {answer:?}"
        );
        assert!(answer.header("server").is_none(), "{name}: {answer:?}");
        if status == 400 {
            assert!(answer.closes(), "{name}: {answer:?}");
            connection.expect_end();
        }
        assert_eq!(
            self.echo.accepted(),
            before,
            "{name}: a backend heard of it"
        );
    }

    /// Sends each request on a connection of its own; each must open a tunnel that echoes.
    #[track_caller]
    fn admits(&self, rows: &[(&str, Request)]) {
        for (name, request) in rows {
            let mut connection = self.proxy.connect();
            connection.send(request.bytes());
            let answer = connection.answer();
            assert_eq!(answer.status, 101, "{name}: {answer:?}");
            connection.send_frame(&Frame::client(TEXT, name));
            assert_eq!(connection.frame().text(), *name);
        }
    }

    #[track_caller]
    fn still_works(&self) {
        self.admits(&[("a good request", Request::upgrade())]);
    }
}
