//! A backend that speaks plain HTTP: request after request on kept connections, bodies included.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::backend::{Backend, Visit, field};

/// A running site.
pub struct Site {
    backend: Backend,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request as the site got it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its head.
    pub head: String,
    /// Its body, without framing.
    pub body: Vec<u8>,
}

impl Site {
    /// Answers each request with the bytes that `answer` makes of it, and hangs up behind an
    /// answer that says so.
    pub fn start(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let record = Arc::clone(&asked);
        let backend = Backend::script(move |mut visit| {
            while let Some(request) = visit.request() {
                let reply = answer(&request);
                record.lock().unwrap().push(request);
                let head = String::from_utf8_lossy(&reply[..reply.len().min(4096)]).into_owned();
                visit.connection.send(reply);
                if field(&head, "connection") == Some("close") {
                    return;
                }
            }
        });
        Self { backend, asked }
    }

    /// Answers every request with 200 and the body `hello`.
    pub fn hello() -> Self {
        Self::start(|_| answer("", "hello"))
    }

    /// Answers with the request's body.
    pub fn echo() -> Self {
        Self::start(|asked| {
            let length = asked.body.len();
            let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            reply.push_str(std::str::from_utf8(&asked.body).unwrap_or("not text"));
            reply.into_bytes()
        })
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections it had so far.
    pub fn visits(&self) -> usize {
        self.backend.visits()
    }
}

impl Asked {
    /// A field of its head, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl Visit {
    /// Reads a whole request; `None` when the connection ends first.
    pub fn request(&mut self) -> Option<Asked> {
        let head = self.connection.read_head()?;
        let body = match field(&head, "content-length") {
            Some(length) => self.connection.try_read_exactly(length.parse().unwrap())?,
            None if field(&head, "transfer-encoding").is_some() => {
                self.connection.try_read_chunks()?
            }
            None => Vec::new(),
        };
        Some(Asked { head, body })
    }
}

/// A 200 with this body and further header lines (each with its CRLF).
pub fn answer(lines: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n{body}").into_bytes()
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend.fmt(f)
    }
}
