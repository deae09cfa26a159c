//! A whole response of the proxy's own: status, a few fields, one line of plain text.

use std::io::Write as _;

/// A response the proxy makes itself, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    text: String,
    closes: bool,
    to_head: bool,
}

impl Answer {
    /// An answer of that status whose body is `text` and a line end.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            fields: Vec::new(),
            text: text.into(),
            closes: false,
            to_head: false,
        }
    }

    /// What a route with `respond` says.
    pub fn of_status(status: u16) -> Self {
        Self::new(status, reason_phrase(status).to_ascii_lowercase())
    }

    /// Sends the client elsewhere for good, keeping its method.
    pub fn redirect(location: impl Into<String>) -> Self {
        Self::new(308, "moved").with("Location", location)
    }

    /// With a field more; the value must be fit for a field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The connection ends after it.
    pub const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// It answers a HEAD request, so its body stays away.
    pub const fn to_head(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The line of its body.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of a field of its own.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(other, _)| *other == name);
        field.map(|(_, value)| value.as_str())
    }

    /// Whether the connection ends after it.
    pub const fn closes(&self) -> bool {
        self.closes
    }

    /// Appends it to `out` as an HTTP/1.1 response.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = self.write(out);
    }

    fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(
            out,
            "HTTP/1.1 {} {}\r\n",
            self.status,
            reason_phrase(self.status)
        )?;
        for (name, value) in &self.fields {
            write!(out, "{name}: {value}\r\n")?;
        }
        if self.closes {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.status == 426 {
            // RFC 9110 section 7.8: who sends Upgrade names it in Connection.
            out.extend_from_slice(b"Connection: Upgrade\r\n");
        }
        self.write_body(out)
    }

    fn write_body(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        // RFC 9112 section 6.3: these never have a body, whatever their fields say.
        if matches!(self.status, 204 | 304) {
            out.extend_from_slice(b"\r\n");
            return Ok(());
        }
        let length = self.text.len() + 1;
        write!(
            out,
            "Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        )?;
        if !self.to_head {
            writeln!(out, "{}", self.text)?;
        }
        Ok(())
    }
}

/// The phrase of RFC 9110 section 15 and its neighbours; empty for the rest.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer) -> String {
        let mut out = Vec::new();
        answer.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_is_one_line_of_plain_text() {
        assert_eq!(
            written(&Answer::new(404, "no route").with("X-A", "b").closing()),
            "HTTP/1.1 404 Not Found\r\nX-A: b\r\nConnection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: 9\r\n\r\nno route\n"
        );
    }

    #[test]
    fn an_answer_to_head_says_its_length_and_has_no_body() {
        let text = written(&Answer::new(404, "no route").to_head());
        assert!(text.ends_with("Content-Length: 9\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_204_has_neither_body_nor_length() {
        assert_eq!(
            written(&Answer::of_status(204)),
            "HTTP/1.1 204 No Content\r\n\r\n"
        );
    }
}
