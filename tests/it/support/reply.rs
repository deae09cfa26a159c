//! A whole HTTP response as a client reads it: what came before it, its fields, its bytes, its
//! trailers.

use std::collections::BTreeMap;

use super::connection::Connection;

/// Fields by their names in lower case; the values of a name in the order they came.
pub type Fields = BTreeMap<String, Vec<String>>;

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status of each interim response.
    pub interim: Vec<u16>,
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The fields.
    pub fields: Fields,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// The fields behind a chunked body.
    pub trailers: Fields,
    /// Whether a further request may follow on the connection.
    pub kept: bool,
}

impl Reply {
    /// Reads the response to a request of this method; `None` when the stream ends before its head.
    pub fn read(connection: &mut Connection, method: &str) -> Option<Self> {
        let mut reply = Self::read_head(connection)?;
        let mut interim = Vec::new();
        while reply.status < 200 {
            interim.push(reply.status);
            reply = Self::read_head(connection)?;
        }
        reply.interim = interim;
        reply.read_body(connection, method);
        Some(reply)
    }

    /// Reads one head, interim or not.
    pub fn read_head(connection: &mut Connection) -> Option<Self> {
        let head = connection.read_head_bytes()?;
        // Each byte a character, so that none is lost.
        let head: String = head.iter().copied().map(char::from).collect();
        let (start, fields) = head.split_once("\r\n")?;
        let (version, rest) = start.split_once(' ')?;
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let fields = parse(fields);
        Some(Self {
            interim: Vec::new(),
            status: status.parse().ok()?,
            reason: reason.to_owned(),
            kept: version == "HTTP/1.1" && !has(&fields, "connection", "close")
                || has(&fields, "connection", "keep-alive"),
            fields,
            body: Vec::new(),
            trailers: Fields::new(),
        })
    }

    fn read_body(&mut self, connection: &mut Connection, method: &str) {
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return;
        }
        if has(&self.fields, "transfer-encoding", "chunked") {
            self.read_chunks(connection);
        } else if let Some(length) = self.fields.get("content-length") {
            self.body = connection.read_exactly(length[0].parse().unwrap());
        } else {
            self.body = connection.read_to_end();
            self.kept = false;
        }
    }

    fn read_chunks(&mut self, connection: &mut Connection) {
        loop {
            let line = connection.read_line().expect("a chunk");
            let size = line.split(';').next().unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            self.body.extend(connection.read_exactly(size));
            assert_eq!(connection.read_exactly(2), b"\r\n");
        }
        let mut lines = String::new();
        while let Some(line) = connection.read_line().filter(|line| line != "\r\n") {
            lines.push_str(&line);
        }
        self.trailers = parse(&lines);
    }
}

fn parse(lines: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')) {
        let values = fields.entry(name.to_ascii_lowercase()).or_default();
        values.push(value.trim_matches([' ', '\t', '\r']).to_owned());
    }
    fields
}

fn has(fields: &Fields, name: &str, token: &str) -> bool {
    let values = fields.get(name).into_iter().flatten();
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|value| value.trim().eq_ignore_ascii_case(token))
}
