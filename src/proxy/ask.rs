//! Asking a server a plain request: over a kept connection or a new one, up to the answer's head.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri, Version};
use tokio::io::AsyncWrite;

use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal};
use crate::logic::request::fields::Field;
use crate::logic::request::{Framing, Malformed, Outbound, ResponseHead};
use crate::state::server::Phase;
use crate::state::upstream::{Pick, Upstream};

use super::attempt::{Attempt, Failure};
use super::feed::Payload;
use super::intake::Progress;
use super::link::Link;
use super::outlet::Outlet;
use super::pool::Pool;

/// A plain request for a server.
#[derive(Debug)]
pub struct Ask<'a, W> {
    /// Where kept connections are.
    pub pool: &'a Pool,
    /// What the upstream says of connecting.
    pub upstream: &'a Upstream,
    /// The request's head.
    pub outbound: Outbound<'a>,
    /// Its body, until a server has begun to take it.
    pub payload: Option<Payload>,
    /// How far the client is with it.
    pub progress: &'a Progress,
    /// Request sent to response head.
    pub response_timeout: Duration,
    /// Where a client that waits for 100 hears it.
    pub expecting: Option<&'a mut Outlet<W>>,
}

/// The head of a server's answer, and where its body comes from.
#[derive(Debug)]
pub struct Reply {
    /// The head.
    pub head: ResponseHead,
    /// How its body was delimited.
    pub framing: Framing,
    /// The body.
    pub body: Incoming,
    /// The connection.
    pub link: Link,
}

impl<W: AsyncWrite + Send + Unpin> Attempt for Ask<'_, W> {
    type Answer = Reply;

    async fn on(&mut self, pick: &mut Pick) -> Result<Reply, Failure> {
        let settings = &self.upstream.settings;
        if let Some(link) = self.pool.take(pick.ticket.server(), settings).await {
            pick.handshake = None;
            match self.over(link).await {
                Err(failure) if failure.closed && failure.again => {}
                outcome => return outcome.map_err(LinkFailure::of_kept),
            }
        }
        let link = Link::open(pick, settings).await?;
        // From here on it is a request in flight, which may take its time.
        pick.handshake = None;
        self.over(link).await.map_err(LinkFailure::of_new)
    }
}

/// How a connection failed a request.
struct LinkFailure {
    refusal: Refusal,
    /// Whether the request may be sent again.
    again: bool,
    /// Whether the connection ended before a byte of an answer came.
    closed: bool,
}

impl<W: AsyncWrite + Send + Unpin> Ask<'_, W> {
    async fn over(&mut self, mut link: Link) -> Result<Reply, LinkFailure> {
        let payload = self.payload.take().unwrap_or(Payload::Empty);
        let has_body = matches!(payload, Payload::Fed(_));
        let request = request(&self.outbound, payload)?;
        if let Some(client) = self.expecting.take() {
            // A client that does not take it shows when its body is waited for.
            let _ = client.interim(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let outcome = tokio::select! {
            biased;
            outcome = link.ask(request) => outcome,
            () = self.progress.overdue(self.response_timeout) => {
                return Err(LinkFailure {
                    refusal: Refusal::Timeout(BackendTimeout::Response),
                    again: self.may_repeat(has_body) && !link.has_heard(),
                    closed: false,
                });
            }
        };
        let mut error = match outcome {
            Ok(response) => return reply(response, link, &self.outbound),
            Err(error) => error,
        };
        let refusal = if error.error().is_parse() {
            BackendFault::Head(Malformed::StartLine)
        } else {
            BackendFault::Closed
        };
        let untouched = error.take_message();
        let unsent = untouched.is_some() || (!link.has_sent() && !has_body);
        if let Some(request) = untouched {
            self.payload = Some(request.into_body());
        }
        let closed = !link.has_heard();
        Err(LinkFailure {
            refusal: refusal.into(),
            again: closed && (unsent || self.may_repeat(has_body)),
            closed,
        })
    }

    /// CONTRACT section 2, `retries`: once sent, only GET and HEAD; their body would be gone.
    fn may_repeat(&self, has_body: bool) -> bool {
        !has_body && matches!(self.outbound.request.method(), "GET" | "HEAD")
    }
}

impl LinkFailure {
    /// Nothing would be different elsewhere.
    const fn for_good(refusal: Refusal) -> Self {
        Self {
            refusal,
            again: false,
            closed: false,
        }
    }

    /// On a new connection.
    fn of_new(self) -> Failure {
        let is_of_the_request = matches!(self.refusal, Refusal::Malformed(_));
        Failure {
            refusal: self.refusal,
            blame: (!is_of_the_request).then_some(Phase::Handshake),
            again: self.again,
        }
    }

    /// On a kept connection. That it had ended while it was idle says nothing about the server.
    fn of_kept(self) -> Failure {
        let closed = self.closed;
        let failure = self.of_new();
        Failure {
            blame: failure.blame.filter(|_| !closed),
            ..failure
        }
    }
}

/// The request as hyper takes it.
fn request(outbound: &Outbound<'_>, payload: Payload) -> Result<Request<Payload>, LinkFailure> {
    let odd = |fault: Malformed| LinkFailure::for_good(fault.into());
    let mut request = Request::new(payload);
    *request.method_mut() = Method::from_bytes(outbound.request.method().as_bytes())
        .map_err(|_| odd(Malformed::Method))?;
    *request.uri_mut() = uri(&outbound.target()).ok_or_else(|| odd(Malformed::Target))?;
    *request.version_mut() = Version::HTTP_11;
    let mut fault = None;
    outbound.each_field(|name, value| {
        let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        match (name, value) {
            (Ok(name), Ok(value)) => {
                request.headers_mut().append(name, value);
            }
            (Err(_), _) => fault = Some(Malformed::FieldName),
            (_, Err(_)) => fault = Some(Malformed::FieldValue),
        }
    });
    fault.map_or(Ok(request), |fault| Err(odd(fault)))
}

/// RFC 3986 section 2: bytes that stand in no URI go on escaped, as hyper refuses them.
fn uri(target: &str) -> Option<Uri> {
    target.parse().ok().or_else(|| {
        let mut escaped = String::with_capacity(target.len() + 16);
        for letter in target.chars() {
            match letter {
                '"' => escaped.push_str("%22"),
                '<' => escaped.push_str("%3C"),
                '>' => escaped.push_str("%3E"),
                '`' => escaped.push_str("%60"),
                letter => escaped.push(letter),
            }
        }
        escaped.parse().ok()
    })
}

/// The answer, its head held to the same rules as one that we read ourselves.
fn reply(
    response: Response<Incoming>,
    link: Link,
    outbound: &Outbound<'_>,
) -> Result<Reply, LinkFailure> {
    let (parts, body) = response.into_parts();
    if parts.status == 101 {
        return Err(LinkFailure::for_good(BackendFault::Unasked.into()));
    }
    let reason = parts.extensions.get::<ReasonPhrase>();
    let reason = reason.map_or_else(
        || {
            parts
                .status
                .canonical_reason()
                .unwrap_or_default()
                .as_bytes()
        },
        ReasonPhrase::as_bytes,
    );
    let minor = u8::from(parts.version == Version::HTTP_11);
    let status = parts.status.as_u16();
    let head = ResponseHead::of_parts(status, reason, minor, fields(&parts.headers));
    let framing = Framing::of_response(&head, outbound.request.method())
        .map_err(|fault| LinkFailure::for_good(BackendFault::Head(fault).into()))?;
    Ok(Reply {
        head,
        framing,
        body,
        link,
    })
}

/// The fields of a map, line by line.
pub fn fields(map: &HeaderMap) -> impl Iterator<Item = Field<'_>> {
    map.iter().map(|(name, value)| Field {
        name: name.as_str().as_bytes(),
        value: value.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_on_as_it_came_where_it_can() {
        for target in ["/", "/a%20b?q={\"x\":1}|^", "*", "/{a}|b?c=d&e[]=~"] {
            let sent = uri(target).map(|uri| uri.to_string());
            let expected = target.replace('"', "%22");
            assert!(
                sent.as_deref() == Some(target) || sent == Some(expected),
                "{target}: {sent:?}"
            );
        }
        let sent = uri("/<a>`?\"b\"").map(|uri| uri.to_string());
        assert_eq!(sent.as_deref(), Some("/%3Ca%3E%60?%22b%22"));
    }
}
