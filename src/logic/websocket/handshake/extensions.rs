//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and what permessage-deflate makes of it
//! (RFC 7692 section 7.1).

use std::fmt;

use crate::logic::request::list;

/// One extension of an offer or of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its token, in the sender's spelling.
    pub name: Box<str>,
    /// Its parameters; a value is a token, its quotes taken off.
    pub params: Vec<(Box<str>, Option<Box<str>>)>,
}

/// The extension whose answer sets RSV1 (RFC 7692).
pub const DEFLATE: &str = "permessage-deflate";

impl Extension {
    /// Parses one element of the list: `token *( ";" token [ "=" ( token / quoted-string ) ] )`.
    pub fn parse(element: &[u8]) -> Option<Self> {
        let mut parts = list::split_unquoted(element, b';');
        let name = token(parts.next()?)?;
        let params = parts.map(param).collect::<Option<_>>()?;
        Some(Self { name, params })
    }

    /// Whether `answer` is what a server may say to this offer.
    pub fn admits(&self, answer: &Self) -> bool {
        if self.name != answer.name {
            return false;
        }
        if &*self.name != DEFLATE {
            return true;
        }
        match (
            Deflate::read(self, Role::Offer),
            Deflate::read(answer, Role::Answer),
        ) {
            (Some(offer), Some(answer)) => offer.admits(answer),
            _ => false,
        }
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (name, value) in &self.params {
            write!(f, "; {name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// The parameters of permessage-deflate.
#[derive(Clone, Copy, Default)]
struct Deflate {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Offer,
    Answer,
}

/// The largest window, which a parameter without value stands for.
const MAX_WINDOW_BITS: u8 = 15;

impl Deflate {
    /// RFC 7692 section 7.1: known parameters, each once, with the values they may have.
    fn read(extension: &Extension, role: Role) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in &extension.params {
            let value = value.as_deref();
            let repeated = match (&**name, value) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut read.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut read.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(bits)) => read
                    .server_max_window_bits
                    .replace(window_bits(bits)?)
                    .is_some(),
                ("client_max_window_bits", Some(bits)) => read
                    .client_max_window_bits
                    .replace(window_bits(bits)?)
                    .is_some(),
                // RFC 7692 section 7.1.2.2: only the offer may leave the value out.
                ("client_max_window_bits", None) if role == Role::Offer => read
                    .client_max_window_bits
                    .replace(MAX_WINDOW_BITS)
                    .is_some(),
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(read)
    }

    fn admits(self, answer: Self) -> bool {
        let takeover = answer.server_no_context_takeover || !self.server_no_context_takeover;
        let server_window = self.server_max_window_bits.is_none_or(|offered| {
            answer
                .server_max_window_bits
                .is_some_and(|agreed| agreed <= offered)
        });
        // RFC 7692 section 7.1.2.2: the server may limit only a client that said it can be limited.
        let client_window = match (self.client_max_window_bits, answer.client_max_window_bits) {
            (_, None) => true,
            (Some(offered), Some(agreed)) => agreed <= offered,
            (None, Some(_)) => false,
        };
        takeover && server_window && client_window
    }
}

/// 8 to 15, in decimal without leading zero.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}

fn param(part: &[u8]) -> Option<(Box<str>, Option<Box<str>>)> {
    match part.iter().position(|&byte| byte == b'=') {
        None => Some((token(part)?, None)),
        Some(equals) => {
            let value = unquoted(list::trim(&part[equals + 1..]))?;
            Some((token(list::trim(&part[..equals]))?, Some(token(&value)?)))
        }
    }
}

fn token(bytes: &[u8]) -> Option<Box<str>> {
    let text = str::from_utf8(bytes).ok()?;
    list::is_token(bytes).then(|| text.into())
}

/// Without quotes and backslashes; what is not quoted stays as it is.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let [b'"', inner @ .., b'"'] = value else {
        return Some(value.to_vec());
    };
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' => plain.push(*rest.next()?),
            other => plain.push(other),
        }
    }
    Some(plain)
}
