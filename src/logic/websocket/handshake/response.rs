//! Whether a backend's 101 answers the client's offer (RFC 6455 section 4.1, "the client MUST
//! validate the server's response").

use thiserror::Error;

use super::extensions::{DEFLATE, Extension};
use super::{Offer, accept_for};
use crate::logic::request::{Fields, ResponseHead, list};

/// `route.handshake`: how exact a backend's 101 must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// As RFC 6455 section 4.2.2 says.
    #[default]
    Strict,
    /// A missing or odd `Connection`, another spelling of `Upgrade`, an unoffered subprotocol and
    /// an unoffered extension are forgiven. `Sec-WebSocket-Accept` never is.
    Lax,
}

/// What both ends agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The subprotocol, where there is one.
    pub protocol: Option<Box<str>>,
    /// Whether messages may be compressed with permessage-deflate, which marks them with RSV1.
    pub deflate: bool,
}

/// How a backend's 101 breaks the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum HandshakeFault {
    #[error("the status is not 101")]
    Status,
    #[error("101 needs HTTP/1.1")]
    Version,
    #[error("Upgrade is not websocket")]
    Upgrade,
    #[error("Connection does not list upgrade")]
    Connection,
    #[error("Sec-WebSocket-Accept is missing")]
    AcceptMissing,
    #[error("Sec-WebSocket-Accept stands more than once")]
    AcceptTwice,
    #[error("Sec-WebSocket-Accept does not fit the key")]
    AcceptWrong,
    #[error("Sec-WebSocket-Protocol is not one token")]
    ProtocolSyntax,
    #[error("the subprotocol was not offered")]
    ProtocolUnoffered,
    #[error("Sec-WebSocket-Extensions is not a list of extensions")]
    ExtensionSyntax,
    #[error("an extension was not offered")]
    ExtensionUnoffered,
    #[error("the parameters of an extension do not fit the offer")]
    ExtensionParameters,
    #[error("an extension stands more than once")]
    ExtensionTwice,
}

/// Holds a backend's 101 against the offer that was sent to it.
///
/// # Errors
/// The first thing that is wrong and not forgiven.
pub fn verify(
    head: &ResponseHead,
    offer: &Offer,
    strictness: Strictness,
) -> Result<Agreed, HandshakeFault> {
    let fields = head.fields();
    if head.status() != 101 {
        return Err(HandshakeFault::Status);
    }
    if head.minor() != 1 {
        return Err(HandshakeFault::Version);
    }
    check_upgrade(fields, strictness)?;
    check_accept(fields, offer)?;
    Ok(Agreed {
        protocol: protocol(fields, offer, strictness)?,
        deflate: extensions(fields, offer, strictness)?,
    })
}

/// RFC 6455 section 4.1, items 2 and 3.
fn check_upgrade(fields: &Fields, strictness: Strictness) -> Result<(), HandshakeFault> {
    let upgrade = fields.one("upgrade").ok().flatten();
    let upgraded = match strictness {
        Strictness::Strict => upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")),
        Strictness::Lax => fields.values("upgrade").any(mentions_websocket),
    };
    if !upgraded {
        return Err(HandshakeFault::Upgrade);
    }
    if strictness == Strictness::Strict && !fields.lists("connection", "upgrade") {
        return Err(HandshakeFault::Connection);
    }
    Ok(())
}

fn mentions_websocket(value: &[u8]) -> bool {
    value
        .to_ascii_lowercase()
        .windows(9)
        .any(|part| part == b"websocket")
}

/// RFC 6455 section 4.1, item 4.
fn check_accept(fields: &Fields, offer: &Offer) -> Result<(), HandshakeFault> {
    let accept = fields
        .one("sec-websocket-accept")
        .map_err(|_| HandshakeFault::AcceptTwice)?;
    match accept {
        None => Err(HandshakeFault::AcceptMissing),
        Some(accept) if accept == accept_for(offer.key()) => Ok(()),
        Some(_) => Err(HandshakeFault::AcceptWrong),
    }
}

/// RFC 6455 section 4.1, item 6.
fn protocol(
    fields: &Fields,
    offer: &Offer,
    strictness: Strictness,
) -> Result<Option<Box<str>>, HandshakeFault> {
    let value = fields
        .one("sec-websocket-protocol")
        .map_err(|_| HandshakeFault::ProtocolSyntax)?;
    let Some(value) = value else {
        return Ok(offer.fallback_protocol().map(Into::into));
    };
    let protocol = str::from_utf8(value).map_err(|_| HandshakeFault::ProtocolSyntax)?;
    if !list::is_token(value) {
        return Err(HandshakeFault::ProtocolSyntax);
    }
    let offered = offer
        .protocols()
        .iter()
        .any(|offered| &**offered == protocol);
    if offered || strictness == Strictness::Lax {
        Ok(Some(protocol.into()))
    } else {
        Err(HandshakeFault::ProtocolUnoffered)
    }
}

/// RFC 6455 section 4.1, item 5; true when permessage-deflate is agreed on.
fn extensions(
    fields: &Fields,
    offer: &Offer,
    strictness: Strictness,
) -> Result<bool, HandshakeFault> {
    let mut deflate = false;
    for element in fields.elements("sec-websocket-extensions") {
        let answer = Extension::parse(element).ok_or(HandshakeFault::ExtensionSyntax)?;
        check_extension(&answer, offer, strictness)?;
        if &*answer.name == DEFLATE && std::mem::replace(&mut deflate, true) {
            return Err(HandshakeFault::ExtensionTwice);
        }
    }
    Ok(deflate)
}

fn check_extension(
    answer: &Extension,
    offer: &Offer,
    strictness: Strictness,
) -> Result<(), HandshakeFault> {
    let offers = offer.extensions();
    if offers.iter().any(|offer| offer.admits(answer)) {
        return Ok(());
    }
    if offers.iter().any(|offer| offer.name == answer.name) {
        return Err(HandshakeFault::ExtensionParameters);
    }
    match strictness {
        Strictness::Lax => Ok(()),
        Strictness::Strict => Err(HandshakeFault::ExtensionUnoffered),
    }
}

#[cfg(test)]
mod tests {
    use HandshakeFault as F;
    use proptest::prelude::*;

    use super::super::testing::{ACCEPT, offer, switching};
    use super::*;
    use crate::logic::request::testing::response_head;

    /// The verdict on a good 101 with one piece of its text replaced.
    fn altered(strictness: Strictness, from: &str, to: &str) -> Result<Agreed, F> {
        let text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        );
        assert!(text.contains(from), "{from}");
        let head = response_head(text.replacen(from, to, 1)).unwrap();
        verify(&head, &offer("").unwrap(), strictness)
    }

    /// The verdict on a 101 with this line, answering an offer with that one.
    fn answered(offered: &str, line: &str, strictness: Strictness) -> Result<Agreed, F> {
        let offered = if offered.is_empty() {
            String::new()
        } else {
            format!("{offered}\r\n")
        };
        verify(
            &switching(&format!("{line}\r\n")),
            &offer(&offered).unwrap(),
            strictness,
        )
    }

    #[test]
    fn a_good_answer_agrees() {
        for strictness in [Strictness::Strict, Strictness::Lax] {
            assert_eq!(
                altered(strictness, "websocket", "WebSocket"),
                Ok(Agreed::default())
            );
            assert_eq!(
                altered(strictness, "Connection: Upgrade", "connection: x, UPGRADE"),
                Ok(Agreed::default())
            );
        }
    }

    /// ATTACKS C04.
    #[test]
    fn upgrade_and_connection_say_websocket_unless_forgiven() {
        let rows = [
            ("Upgrade: websocket\r\n", "", F::Upgrade, false),
            ("Upgrade: websocket", "Upgrade: foo", F::Upgrade, false),
            (
                "Upgrade: websocket",
                "Upgrade: websocket, foo",
                F::Upgrade,
                true,
            ),
            (
                "Upgrade: websocket",
                "Upgrade: WebSocket/13",
                F::Upgrade,
                true,
            ),
            (
                "Upgrade: websocket",
                "Upgrade: websocket\r\nUpgrade: websocket",
                F::Upgrade,
                true,
            ),
            ("Connection: Upgrade\r\n", "", F::Connection, true),
            (
                "Connection: Upgrade",
                "Connection: keep-alive",
                F::Connection,
                true,
            ),
            (
                "Connection: Upgrade",
                "Connection: upgraded",
                F::Connection,
                true,
            ),
        ];
        for (from, to, fault, forgiven) in rows {
            assert_eq!(altered(Strictness::Strict, from, to), Err(fault), "{to}");
            assert_eq!(altered(Strictness::Lax, from, to).is_ok(), forgiven, "{to}");
        }
    }

    #[test]
    fn accept_is_never_forgiven() {
        let accept = format!("Sec-WebSocket-Accept: {ACCEPT}");
        let rows = [
            (format!("{accept}\r\n"), String::new(), F::AcceptMissing),
            (
                accept.clone(),
                format!("{accept}\r\n{accept}"),
                F::AcceptTwice,
            ),
            (ACCEPT.to_owned(), ACCEPT.to_lowercase(), F::AcceptWrong),
            (ACCEPT.to_owned(), String::new(), F::AcceptWrong),
            (ACCEPT.to_owned(), ACCEPT.replace('=', ""), F::AcceptWrong),
            (ACCEPT.to_owned(), format!("\"{ACCEPT}\""), F::AcceptWrong),
            (
                ACCEPT.to_owned(),
                "HSmrc0sMlYUkAGmm5OPpG2HaGWk=".to_owned(),
                F::AcceptWrong,
            ),
        ];
        for (from, to, fault) in rows {
            for strictness in [Strictness::Strict, Strictness::Lax] {
                assert_eq!(altered(strictness, &from, &to), Err(fault), "{to}");
            }
        }
    }

    #[test]
    fn only_a_101_of_http_1_1_switches() {
        for strictness in [Strictness::Strict, Strictness::Lax] {
            assert_eq!(altered(strictness, "101", "200"), Err(F::Status));
            assert_eq!(altered(strictness, "HTTP/1.1", "HTTP/1.0"), Err(F::Version));
        }
    }

    #[test]
    fn the_subprotocol_is_one_of_those_offered() {
        let agreed = |protocol: &str| {
            Ok(Agreed {
                protocol: Some(protocol.into()),
                deflate: false,
            })
        };
        let (offered, field) = (
            "Sec-WebSocket-Protocol: chat, superchat",
            "Sec-WebSocket-Protocol",
        );
        let rows = [
            (
                offered,
                "superchat",
                agreed("superchat"),
                agreed("superchat"),
            ),
            (offered, "other", Err(F::ProtocolUnoffered), agreed("other")),
            (offered, "Chat", Err(F::ProtocolUnoffered), agreed("Chat")),
            ("", "chat", Err(F::ProtocolUnoffered), agreed("chat")),
            (
                offered,
                "chat, superchat",
                Err(F::ProtocolSyntax),
                Err(F::ProtocolSyntax),
            ),
            (offered, "", Err(F::ProtocolSyntax), Err(F::ProtocolSyntax)),
            (
                offered,
                "chat\r\nSec-WebSocket-Protocol: chat",
                Err(F::ProtocolSyntax),
                Err(F::ProtocolSyntax),
            ),
        ];
        for (offered, value, strict, lax) in rows {
            let line = format!("{field}: {value}");
            assert_eq!(
                answered(offered, &line, Strictness::Strict),
                strict,
                "{value}"
            );
            assert_eq!(answered(offered, &line, Strictness::Lax), lax, "{value}");
        }
        assert_eq!(
            answered(offered, "X: none chosen", Strictness::Strict),
            Ok(Agreed::default())
        );
    }

    /// ATTACKS C17. Neither spelling forgives parameters that no client could follow.
    #[test]
    fn permessage_deflate_answers_what_was_offered() {
        let good = [
            ("", ""),
            ("", "; server_no_context_takeover"),
            ("", "; client_no_context_takeover; server_max_window_bits=8"),
            ("", "; server_max_window_bits=\"10\""),
            ("; client_max_window_bits", "; client_max_window_bits=15"),
            ("; client_max_window_bits=10", "; client_max_window_bits=9"),
            ("; server_max_window_bits=10", "; server_max_window_bits=10"),
            ("; server_max_window_bits=10, permessage-deflate", ""),
        ];
        let bad = [
            ("", "; client_max_window_bits=10"),
            ("; client_max_window_bits", "; client_max_window_bits"),
            ("; client_max_window_bits=10", "; client_max_window_bits=11"),
            ("; server_max_window_bits=10", ""),
            ("; server_max_window_bits=10", "; server_max_window_bits=11"),
            ("; server_no_context_takeover", ""),
            ("", "; server_max_window_bits"),
            ("", "; server_max_window_bits=7"),
            ("", "; server_max_window_bits=16"),
            ("", "; server_max_window_bits=08"),
            ("", "; server_max_window_bits=abc"),
            ("", "; server_max_window_bits=99999999999"),
            ("", "; server_max_window_bits=8; server_max_window_bits=8"),
            (
                "",
                "; server_no_context_takeover; server_no_context_takeover",
            ),
            ("", "; server_no_context_takeover=1"),
            ("", "; unknown"),
            ("; unknown", ""),
        ];
        let verdict = |(offered, answer), strictness| {
            let field = "Sec-WebSocket-Extensions: permessage-deflate";
            answered(
                &format!("{field}{offered}"),
                &format!("{field}{answer}"),
                strictness,
            )
        };
        for strictness in [Strictness::Strict, Strictness::Lax] {
            for row in good {
                let agreed = verdict(row, strictness);
                assert_eq!(
                    agreed,
                    Ok(Agreed {
                        protocol: None,
                        deflate: true
                    }),
                    "{row:?}"
                );
            }
            for row in bad {
                assert_eq!(
                    verdict(row, strictness),
                    Err(F::ExtensionParameters),
                    "{row:?}"
                );
            }
        }
    }

    #[test]
    fn extensions_are_among_those_offered_and_stand_once() {
        let rows = [
            ("x-own; a=b", "x-own; c", Ok(false), Ok(false)),
            ("x-own", "", Ok(false), Ok(false)),
            (
                "x-own",
                "permessage-deflate",
                Err(F::ExtensionUnoffered),
                Ok(true),
            ),
            (
                "permessage-deflate",
                "permessage-deflate, y",
                Err(F::ExtensionUnoffered),
                Ok(true),
            ),
            (
                "permessage-deflate",
                "permessage-deflate, permessage-deflate",
                Err(F::ExtensionTwice),
                Err(F::ExtensionTwice),
            ),
            ("x", "x;", Err(F::ExtensionSyntax), Err(F::ExtensionSyntax)),
            ("x", "x y", Err(F::ExtensionSyntax), Err(F::ExtensionSyntax)),
        ];
        for (offered, value, strict, lax) in rows {
            let offered = format!("Sec-WebSocket-Extensions: {offered}");
            let line = format!("Sec-WebSocket-Extensions: {value}");
            let verdict = |strictness| answered(&offered, &line, strictness).map(|a| a.deflate);
            assert_eq!(verdict(Strictness::Strict), strict, "{offered} / {value}");
            assert_eq!(verdict(Strictness::Lax), lax, "{offered} / {value}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_verified_or_refused(
            extensions in "[ -~]{0,60}",
            protocol in "[ -~]{0,20}",
            offered in "(permessage-deflate(; [a-z_]{1,22}(=[0-9]{1,2})?){0,2}|[a-z]{1,5})",
        ) {
            let lines = format!(
                "Sec-WebSocket-Extensions: {extensions}\r\nSec-WebSocket-Protocol: {protocol}\r\n"
            );
            let offer = offer(&format!("Sec-WebSocket-Extensions: {offered}\r\n")).unwrap();
            let strict = verify(&switching(&lines), &offer, Strictness::Strict);
            let lax = verify(&switching(&lines), &offer, Strictness::Lax);
            prop_assert!(strict.is_err() || strict == lax);
        }
    }
}
