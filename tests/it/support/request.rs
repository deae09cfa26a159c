//! Request heads in the making: a good upgrade, changed line by line.

/// A request head; bytes, as what a hostile client sends need not be text.
#[derive(Clone, Debug)]
pub struct Request {
    start: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl Request {
    /// The good upgrade of RFC 6455 section 1.2.
    pub fn upgrade() -> Self {
        Self::start("GET /ws HTTP/1.1")
            .with("Host: a")
            .with("Upgrade: websocket")
            .with("Connection: Upgrade")
            .with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
            .with("Sec-WebSocket-Version: 13")
    }

    /// A plain request.
    pub fn get(target: &str) -> Self {
        Self::start(&format!("GET {target} HTTP/1.1")).with("Host: a")
    }

    fn start(line: &str) -> Self {
        Self {
            start: line.into(),
            fields: Vec::new(),
        }
    }

    /// Another request line.
    pub fn line(self, line: impl AsRef<[u8]>) -> Self {
        Self {
            start: line.as_ref().to_vec(),
            ..self
        }
    }

    /// Another target.
    pub fn target(self, target: impl AsRef<[u8]>) -> Self {
        self.line([b"GET ", target.as_ref(), b" HTTP/1.1"].concat())
    }

    /// One more field line.
    pub fn with(mut self, field: impl AsRef<[u8]>) -> Self {
        self.fields.push(field.as_ref().to_vec());
        self
    }

    /// Without the fields of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.fields
            .retain(|field| !name_of(field).eq_ignore_ascii_case(name.as_bytes()));
        self
    }

    /// This field line in place of those of its name.
    pub fn but(self, field: impl AsRef<[u8]>) -> Self {
        let name = String::from_utf8(name_of(field.as_ref()).to_vec()).unwrap();
        self.without(&name).with(field)
    }

    /// The head on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut wire = self.start.clone();
        for field in &self.fields {
            wire.extend(b"\r\n");
            wire.extend(field);
        }
        wire.extend(b"\r\n\r\n");
        wire
    }
}

fn name_of(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == b':').next().unwrap_or_default()
}
