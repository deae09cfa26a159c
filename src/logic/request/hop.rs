//! Fields that belong to one connection and stop here (RFC 9110 section 7.6.1).

use std::cmp::Ordering;

use super::Fields;

/// The fields of one message that must not go on.
#[derive(Clone, Debug)]
pub struct HopByHop<'a> {
    /// What Connection names, sorted, so that 16 KiB of names cost no square time.
    nominated: Vec<&'a [u8]>,
}

impl<'a> HopByHop<'a> {
    /// Reads what the message's Connection fields name.
    pub fn of(fields: &'a Fields) -> Self {
        let mut nominated: Vec<_> = fields.elements("connection").collect();
        nominated.sort_unstable_by(|a, b| compare(a, b));
        Self { nominated }
    }

    /// Whether the field of that name stops here.
    pub fn stops(&self, name: &[u8]) -> bool {
        Self::always(name)
            || self
                .nominated
                .binary_search_by(|nominated| compare(nominated, name))
                .is_ok()
    }

    /// Whether a field of that name stops here in every message.
    pub fn always(name: &[u8]) -> bool {
        ALWAYS
            .iter()
            .any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
    }
}

/// Named in Connection or not: RFC 9110 section 7.6.1, RFC 7540 section 3.2.1 for HTTP2-Settings,
/// and what concerns this connection's framing, which is written anew.
const ALWAYS: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "http2-settings",
];

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.iter()
        .map(u8::to_ascii_lowercase)
        .cmp(b.iter().map(u8::to_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::fields;

    #[test]
    fn hop_by_hop_fields_stop_named_or_not() {
        let fields = fields("Connection: close, X-Secret\r\nConnection: x-other\r\n");
        let hop = HopByHop::of(&fields);
        for name in [
            "Connection",
            "KEEP-ALIVE",
            "TE",
            "Trailer",
            "Upgrade",
            "HTTP2-Settings",
        ] {
            assert!(hop.stops(name.as_bytes()), "{name}");
        }
        for name in ["x-secret", "X-Other", "close"] {
            assert!(hop.stops(name.as_bytes()), "{name}");
        }
        for name in ["X-Secre", "X-Secrets", "Cookie", "Sec-WebSocket-Key"] {
            assert!(!hop.stops(name.as_bytes()), "{name}");
        }
    }
}
