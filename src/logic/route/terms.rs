//! What a route asks of a request before any limit or server is looked at: the pure checks, in the
//! order of the contract. The proxy and `tidegate explain` both decide by them.

use ipnet::IpNet;

use super::Accept;
use crate::logic::refusal::Refusal;
use crate::logic::request::{Client, OriginRule, Request, access, origin};
use crate::logic::websocket::handshake::Offer;

/// A route's terms.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Addresses that may come in; empty is all.
    pub allow: &'a [IpNet],
    /// Addresses that may not.
    pub deny: &'a [IpNet],
    /// Origins that may open a WebSocket; empty is any.
    pub origins: &'a [OriginRule],
    /// The kinds of request that go to a server; `None` where the route answers all by itself.
    pub accept: Option<Accept>,
}

impl Terms<'_> {
    /// Checks address, kind, origin, method, version and key; what an upgrade to a server offers.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn check(&self, request: &Request, client: &Client) -> Result<Option<Offer>, Refusal> {
        if !access::admits(self.allow, self.deny, client.address) {
            return Err(Refusal::Address);
        }
        let Some(accept) = self.accept else {
            return Ok(None);
        };
        accept.admits(request.is_websocket())?;
        if !request.is_websocket() {
            return Ok(None);
        }
        if !origin::admits(self.origins, request, client.scheme) {
            return Err(Refusal::Origin);
        }
        Offer::check(request).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::request;
    use crate::logic::request::{Malformed, Scheme};

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const VERSION: &str = "Sec-WebSocket-Version: 13";
    const ORIGIN: &str = "Origin: https://a";

    fn upgrade(method: &str, lines: [&str; 3]) -> String {
        let lines = lines.join("\r\n");
        format!(
            "{method} /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\n{lines}\r\n\r\n"
        )
    }

    /// Whether it may come from 10.0.0.0/8 and pages of its own host.
    fn check(head: &str, address: &str, accept: Option<Accept>) -> Result<bool, Refusal> {
        let request = request(head).unwrap();
        let peer = address.parse().unwrap();
        let client = Client::of(request.head().fields(), peer, Scheme::Https, &[]);
        let terms = Terms {
            allow: &["10.0.0.0/8".parse().unwrap()],
            deny: &[],
            origins: &[OriginRule::SameHost],
            accept,
        };
        terms.check(&request, &client).map(|offer| offer.is_some())
    }

    #[test]
    fn the_first_check_that_fails_answers_in_the_order_of_the_contract() {
        let (origin, version, key) = ("Origin: https://b", "Sec-WebSocket-Version: 8", "X: y");
        let worst = upgrade("POST", [origin, version, key]);
        let both = Some(Accept::Both);
        assert_eq!(check(&worst, "1.2.3.4", both), Err(Refusal::Address));
        let plain = Some(Accept::Http);
        assert_eq!(
            check(&worst, "10.0.0.1", plain),
            Err(Refusal::UpgradeRefused)
        );
        for (head, outcome) in [
            (worst, Err(Refusal::Origin)),
            (
                upgrade("POST", [ORIGIN, version, key]),
                Err(Refusal::UpgradeMethod),
            ),
            (
                upgrade("GET", [ORIGIN, version, key]),
                Err(Refusal::UpgradeVersion),
            ),
            (
                upgrade("GET", [ORIGIN, VERSION, key]),
                Err(Malformed::KeyMissing.into()),
            ),
            (upgrade("GET", [ORIGIN, VERSION, KEY]), Ok(true)),
        ] {
            assert_eq!(check(&head, "10.0.0.1", both), outcome, "{head}");
        }
    }

    #[test]
    fn a_route_that_answers_by_itself_asks_for_the_address_alone() {
        let head = upgrade("POST", ["Origin: https://b", VERSION, KEY]);
        assert_eq!(check(&head, "10.0.0.1", None), Ok(false));
        assert_eq!(check(&head, "1.2.3.4", None), Err(Refusal::Address));
    }

    #[test]
    fn a_plain_request_shows_no_origin() {
        let head = "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(check(head, "10.0.0.1", Some(Accept::Both)), Ok(false));
        let refused = Err(Refusal::UpgradeRequired);
        assert_eq!(check(head, "10.0.0.1", Some(Accept::WebSocket)), refused);
    }
}
