//! The generator's own opening handshake: the request, and whether its answer is right.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Response, Status};

use super::fault::Fault;
use crate::logic::websocket::handshake::accept_for;

/// A handshake whose answer is awaited.
#[derive(Debug)]
pub(super) struct Handshake {
    key: [u8; 24],
    head: Vec<u8>,
}

impl Handshake {
    pub(super) fn new() -> Self {
        let mut key = [0; 24];
        let written = STANDARD.encode_slice(fastrand::u128(..).to_ne_bytes(), &mut key);
        debug_assert_eq!(written, Ok(24), "16 bytes are 24 characters of base64");
        Self {
            key,
            head: Vec::new(),
        }
    }

    /// Appends the request.
    pub(super) fn append_request(&self, host: &str, path: &str, to: &mut Vec<u8>) {
        for part in [
            b"GET ",
            path.as_bytes(),
            b" HTTP/1.1\r\nHost: ",
            host.as_bytes(),
            b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
              User-Agent: tidegate-bench\r\nSec-WebSocket-Key: ",
            &self.key,
            b"\r\n\r\n",
        ] {
            to.extend_from_slice(part);
        }
    }

    /// Takes in some of the answer. Once it is whole and right, returns what follows it.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        const MAX_HEAD_BYTES: usize = 64 * 1024;
        self.head.extend_from_slice(bytes);
        let mut fields = [EMPTY_HEADER; 64];
        let mut response = Response::new(&mut fields);
        match response.parse(&self.head) {
            Ok(Status::Partial) if self.head.len() < MAX_HEAD_BYTES => Ok(None),
            Ok(Status::Complete(length)) => {
                self.check(&response)?;
                Ok(Some(self.head.split_off(length)))
            }
            _ => Err(Fault::BadHandshake),
        }
    }

    /// RFC 6455 section 4.1.
    fn check(&self, response: &Response<'_, '_>) -> Result<(), Fault> {
        match response.code {
            Some(101) => {}
            status => return Err(Fault::Status(status.unwrap_or_default())),
        }
        let has = |name: &str, right: &dyn Fn(&[u8]) -> bool| {
            let mut fields = response.headers.iter();
            fields.any(|field| {
                field.name.eq_ignore_ascii_case(name) && right(field.value.trim_ascii())
            })
        };
        let upgraded = has("upgrade", &|value| value.eq_ignore_ascii_case(b"websocket"));
        let proven = has("sec-websocket-accept", &|value| {
            value == accept_for(&self.key)
        });
        if upgraded && proven {
            Ok(())
        } else {
            Err(Fault::BadHandshake)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(accept: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }

    fn right_answer(handshake: &Handshake) -> String {
        answer(std::str::from_utf8(&accept_for(&handshake.key)).unwrap())
    }

    #[test]
    fn a_right_answer_opens_wherever_it_is_cut() {
        let mut handshake = Handshake::new();
        let answer = right_answer(&handshake) + "\u{1}rest";
        for byte in &answer.as_bytes()[..answer.len() - 6] {
            assert_eq!(handshake.receive(&[*byte]), Ok(None));
        }
        let rest = handshake.receive(&answer.as_bytes()[answer.len() - 6..]);
        assert_eq!(rest, Ok(Some(b"\x01rest".to_vec())));
    }

    #[test]
    fn a_wrong_answer_does_not() {
        for (answer, fault) in [
            (answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Fault::BadHandshake),
            ("HTTP/1.1 101 X\r\n\r\n".into(), Fault::BadHandshake),
            ("HTTP/1.1 503 X\r\n\r\n".into(), Fault::Status(503)),
            ("SSH-2.0-x\r\n".into(), Fault::BadHandshake),
        ] {
            assert_eq!(
                Handshake::new().receive(answer.as_bytes()),
                Err(fault),
                "{answer}"
            );
        }
    }
}
