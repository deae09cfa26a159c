//! What a client offers when it asks for a WebSocket (RFC 6455 section 4.2.1).
//! That it asks at all, and with which `Connection` and body, is checked with the request's syntax.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Extension;
use crate::logic::refusal::Refusal;
use crate::logic::request::{Fields, Malformed, Request, list};

/// A client's half of the handshake, found good: what the backend gets to see, and what its answer
/// is measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    key: Key,
    protocols: Vec<Box<str>>,
    extensions: Vec<Extension>,
    /// A token stood among the subprotocols.
    bears_token: bool,
}

/// The subprotocol that a token follows.
const BEARER: &str = "bearer";

/// `Sec-WebSocket-Key`: 24 characters that are 16 bytes in base64.
pub type Key = [u8; 24];

impl Offer {
    /// Checks method, version, key, subprotocols and extensions of a request that asks for a
    /// WebSocket, in this order.
    ///
    /// # Errors
    /// The first check that failed: 405, 426 or 400.
    pub fn check(request: &Request) -> Result<Self, Refusal> {
        let fields = request.head().fields();
        if request.method() != "GET" {
            return Err(Refusal::UpgradeMethod);
        }
        if fields.one("sec-websocket-version") != Ok(Some(b"13")) {
            return Err(Refusal::UpgradeVersion);
        }
        Ok(Self {
            key: key(fields)?,
            protocols: protocols(fields)?,
            extensions: extensions(fields)?,
            bears_token: false,
        })
    }

    /// The key as it stands in the field.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The subprotocols, by preference.
    pub fn protocols(&self) -> &[Box<str>] {
        &self.protocols
    }

    /// Takes the token out that follows the subprotocol `bearer`; an empty one where none does.
    pub fn take_bearer(&mut self) -> Option<String> {
        let at = self.protocols.iter().position(|it| &**it == BEARER)?;
        self.bears_token = true;
        let token = (at + 1 < self.protocols.len()).then(|| self.protocols.remove(at + 1));
        Some(token.map(String::from).unwrap_or_default())
    }

    /// What is selected where the backend selects nothing: the client that offered a token is
    /// owed a subprotocol, and would fail the connection without one.
    pub fn fallback_protocol(&self) -> Option<&'static str> {
        self.bears_token.then_some(BEARER)
    }

    /// The extensions, by preference.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }
}

/// Bits beyond the 16 bytes are nobody's business: RFC 6455 asks for the length alone.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

fn key(fields: &Fields) -> Result<Key, Malformed> {
    let value = fields
        .one("sec-websocket-key")
        .map_err(|_| Malformed::KeyTwice)?;
    let key = Key::try_from(value.ok_or(Malformed::KeyMissing)?);
    let key = key.map_err(|_| Malformed::KeySyntax)?;
    // The decoder wants room for 18 bytes, which 24 characters could be.
    match BASE64.decode_slice(key, &mut [0; 18]) {
        Ok(16) => Ok(key),
        _ => Err(Malformed::KeySyntax),
    }
}

/// RFC 6455 section 4.1, item 10: tokens, all different.
fn protocols(fields: &Fields) -> Result<Vec<Box<str>>, Malformed> {
    let protocols: Option<Vec<_>> = list_field(fields, "sec-websocket-protocol")
        .map(token_text)
        .collect();
    let protocols = protocols.ok_or(Malformed::Protocols)?;
    let mut sorted: Vec<_> = protocols.iter().collect();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if repeated {
        Err(Malformed::Protocols)
    } else {
        Ok(protocols)
    }
}

fn extensions(fields: &Fields) -> Result<Vec<Extension>, Malformed> {
    let extensions: Option<_> = list_field(fields, "sec-websocket-extensions")
        .map(Extension::parse)
        .collect();
    extensions.ok_or(Malformed::Extensions)
}

/// The list's elements; a line without any counts as one empty element, which no list may have.
fn list_field<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.values(name).flat_map(|value| {
        let empty = list::elements(value).next().is_none();
        list::elements(value).chain(empty.then_some(b"".as_slice()))
    })
}

fn token_text(element: &[u8]) -> Option<Box<str>> {
    let text = str::from_utf8(element).ok()?;
    list::is_token(element).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{KEY, offer};
    use super::*;
    use crate::logic::request::testing::request;

    /// A good upgrade, with one piece of its text replaced.
    fn altered(from: &str, to: &str) -> Result<Offer, Refusal> {
        let text = format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        assert!(text.contains(from), "{from}");
        Offer::check(&request(text.replace(from, to)).unwrap())
    }

    fn protocols(lines: &str) -> Result<Vec<String>, Refusal> {
        offer(lines).map(|offer| offer.protocols().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_good_upgrade_is_an_offer() {
        let offer = offer("").unwrap();
        assert_eq!(offer.key(), KEY.as_bytes());
        assert!(offer.protocols().is_empty() && offer.extensions().is_empty());
    }

    /// ATTACKS A11.
    #[test]
    fn only_get_opens_a_websocket() {
        for method in ["POST", "PUT", "OPTIONS", "HEAD", "DELETE"] {
            assert_eq!(
                altered("GET", method),
                Err(Refusal::UpgradeMethod),
                "{method}"
            );
        }
    }

    /// ATTACKS A04.
    #[test]
    fn only_version_13_is_spoken() {
        for version in ["1337", "", "8", "013", "13, 13", "13, 8", "+13", "\"13\""] {
            let line = format!("Version: {version}\r");
            assert_eq!(
                altered("Version: 13\r", &line),
                Err(Refusal::UpgradeVersion),
                "{version}"
            );
        }
        assert_eq!(
            altered("Sec-WebSocket-Version: 13\r\n", ""),
            Err(Refusal::UpgradeVersion)
        );
        assert_eq!(
            offer("Sec-WebSocket-Version: 13\r\n"),
            Err(Refusal::UpgradeVersion)
        );
    }

    /// ATTACKS A01, A02.
    #[test]
    fn the_key_is_16_bytes_of_base64_once() {
        let keys = [
            "",
            "AAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA==A",
            "AAAAAAAAAAA=AAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAA AA==",
            "AAAAAAAAAAAAAAAAAAA-_A==",
            "AAAAAAAAAAAAAAAAAAA\u{e9}==",
        ];
        for key in keys {
            assert_eq!(altered(KEY, key), Err(Malformed::KeySyntax.into()), "{key}");
        }
        let line = format!("Sec-WebSocket-Key: {KEY}\r\n");
        assert_eq!(altered(&line, ""), Err(Malformed::KeyMissing.into()));
        assert_eq!(offer(&line), Err(Malformed::KeyTwice.into()));
        assert_eq!(
            offer("sec-websocket-key: AAAA\r\n"),
            Err(Malformed::KeyTwice.into())
        );
    }

    #[test]
    fn white_space_around_the_key_is_not_part_of_it() {
        assert_eq!(
            altered(KEY, &format!(" \t{KEY}\t ")).unwrap().key(),
            KEY.as_bytes()
        );
    }

    #[test]
    fn bits_beyond_the_16_bytes_do_not_matter() {
        assert!(altered(KEY, "AAAAAAAAAAAAAAAAAAAAAB==").is_ok());
    }

    /// ATTACKS A17.
    #[test]
    fn subprotocols_are_a_list_of_different_tokens() {
        let good = "Sec-WebSocket-Protocol: chat,v2.soap ,, Chat\r\nSec-WebSocket-Protocol: x\r\n";
        assert_eq!(protocols(good).unwrap(), ["chat", "v2.soap", "Chat", "x"]);
        for value in ["", ",", "a b", "a/b", "\"a\"", "a, a", "a;q=1", "\u{e9}"] {
            let line = format!("Sec-WebSocket-Protocol: {value}\r\n");
            assert_eq!(
                protocols(&line),
                Err(Malformed::Protocols.into()),
                "{value}"
            );
        }
        let twice = "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n";
        assert_eq!(protocols(twice), Err(Malformed::Protocols.into()));
    }

    #[test]
    fn many_subprotocols_pass() {
        let many: Vec<_> = (0..2_000).map(|n| format!("p{n}")).collect();
        let line = format!("Sec-WebSocket-Protocol: {}\r\n", many.join(","));
        assert_eq!(protocols(&line).unwrap(), many);
    }

    #[test]
    fn extensions_follow_the_grammar() {
        let with = |value: &str| offer(&format!("Sec-WebSocket-Extensions: {value}\r\n"));
        let text = |offer: Offer| {
            offer
                .extensions()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let rows = [
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; client_max_window_bits",
            ),
            ("a;b=\"c\" ;d= e,f", "a; b=c; d=e, f"),
            ("a; b=\"\\c\"", "a; b=c"),
        ];
        for (value, expected) in rows {
            assert_eq!(with(value).map(text).as_deref(), Ok(expected), "{value}");
        }
        for value in [
            "",
            ";",
            "a;",
            "a; ;b",
            "a b",
            "a; b=",
            "a; =b",
            "a; b=\"c d\"",
            "a; b=\"\"",
            "a; b=\"c",
            "a=b",
        ] {
            assert_eq!(with(value), Err(Malformed::Extensions.into()), "{value}");
        }
    }

    #[test]
    fn method_comes_before_version_and_version_before_key() {
        let all_wrong =
            "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let check = |text: &str| Offer::check(&request(text).unwrap());
        assert_eq!(check(all_wrong), Err(Refusal::UpgradeMethod));
        let get = all_wrong.replace("POST", "GET");
        assert_eq!(check(&get), Err(Refusal::UpgradeVersion));
        let version = get.replace("\r\n\r\n", "\r\nSec-WebSocket-Version: 13\r\n\r\n");
        assert_eq!(check(&version), Err(Malformed::KeyMissing.into()));
    }
}
