//! The spans of a handshake and of the session that comes of it, gathered step by step. Of a
//! request that is not traced nothing is gathered.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::logic::reason::CloseCode;
use crate::logic::request::{Client, Request};
use crate::logic::trace::TraceParent;
use crate::logic::websocket::{End, Session};
use crate::state::registry::Live;
use crate::state::server::Server;
use crate::telemetry::access::json::bounded;
use crate::telemetry::trace::{Span, SpanKind, Tracer, Value};

/// The field of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

/// A handshake that may be traced; its spans go out when it is dropped.
#[derive(Debug)]
pub struct Trace(Option<Box<Traced>>);

#[derive(Debug)]
struct Traced {
    tracer: Tracer,
    /// Where the next step begins.
    mark: Instant,
    since: SystemTime,
    /// The handshake itself; the last one to go out.
    root: Span,
    steps: Vec<Span>,
}

/// The session that a traced handshake opened.
#[derive(Debug)]
pub struct SessionTrace {
    tracer: Tracer,
    span: Span,
}

impl Trace {
    /// Nothing to trace.
    pub const NONE: Self = Self(None);

    /// Begins with a request that was received then. A peer that is trusted may ask for its trace to be kept.
    pub fn begin(
        tracer: Option<&Tracer>,
        request: &Request,
        caller: &Client,
        received: Instant,
    ) -> Self {
        let Some(tracer) = tracer else {
            return Self::NONE;
        };
        let parent = parent(request);
        let is_asked = caller.vouched && parent.is_some_and(|parent| parent.sampled);
        if !is_asked && !tracer.share().takes(fastrand::u32(..)) {
            return Self::NONE;
        }
        let began = SystemTime::now() - received.elapsed();
        let root = Span {
            trace_id: parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id),
            span_id: fastrand::u64(1..),
            parent: parent.map(|parent| parent.span_id),
            name: "handshake",
            kind: SpanKind::Server,
            start: began,
            end: began,
            attributes: vec![
                ("http.request.method", request.method().into()),
                ("server.address", request.host().name().into()),
                (
                    "url.path",
                    Value::Text(bounded(request.path().as_bytes()).into()),
                ),
                (
                    "client.address",
                    Value::Text(caller.address.to_string().into()),
                ),
            ],
            error: None,
        };
        Self(Some(Box::new(Traced {
            tracer: tracer.clone(),
            mark: received,
            since: began,
            root,
            steps: Vec::new(),
        })))
    }

    /// A fact about the handshake.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(traced) = &mut self.0 {
            traced.root.attributes.push((key, value.into()));
        }
    }

    /// A step of the proxy's own is over.
    pub fn step(&mut self, name: &'static str) {
        if let Some(traced) = &mut self.0 {
            traced.step(name, SpanKind::Internal);
        }
    }

    /// A step with a server is over; with what it failed, if it did.
    pub fn asked(&mut self, name: &'static str, server: &Server, failure: Option<&dyn Display>) {
        if let Some(traced) = &mut self.0 {
            let span = traced.step(name, SpanKind::Client);
            span.attributes = of_server(server);
            span.error = failure.map(ToString::to_string);
        }
    }

    /// The client got this status.
    pub fn answered(&mut self, status: u16) {
        if let Some(traced) = &mut self.0 {
            let root = &mut traced.root;
            root.attributes
                .push(("http.response.status_code", u64::from(status).into()));
            root.error = (status >= 500).then(|| format!("answered {status}"));
        }
    }

    /// The field that tells servers that their part belongs to this handshake.
    pub fn header(&self) -> Option<(Arc<str>, Arc<str>)> {
        let traced = self.0.as_ref()?;
        let parent = TraceParent {
            trace_id: traced.root.trace_id,
            span_id: traced.root.span_id,
            sampled: true,
        };
        Some((TRACEPARENT.into(), parent.to_string().into()))
    }

    /// It became this session.
    pub fn opened(self, live: &Live) -> Option<Box<SessionTrace>> {
        let traced = self.0.as_ref()?;
        let mut attributes = of_server(&live.server);
        attributes.extend([
            (
                "tidegate.connection",
                Value::Text(live.id.to_string().into()),
            ),
            ("tidegate.route", (&live.route.settings.name).into()),
        ]);
        let now = SystemTime::now();
        let span = Span {
            trace_id: traced.root.trace_id,
            span_id: fastrand::u64(1..),
            parent: Some(traced.root.span_id),
            name: "session",
            kind: SpanKind::Server,
            start: now,
            end: now,
            attributes,
            error: None,
        };
        Some(Box::new(SessionTrace {
            tracer: traced.tracer.clone(),
            span,
        }))
    }
}

impl SessionTrace {
    /// The session is over.
    pub fn closed(&self, session: &Session, end: &End) {
        let tally = session.tally();
        let mut span = self.span.clone();
        span.end = SystemTime::now();
        span.attributes.extend([
            ("tidegate.reason", end.reason.word().into()),
            (
                "tidegate.messages_to_backend",
                tally.client.messages().into(),
            ),
            (
                "tidegate.messages_to_client",
                tally.backend.messages().into(),
            ),
            (
                "tidegate.bytes_to_backend",
                tally.client.payload_bytes.into(),
            ),
            (
                "tidegate.bytes_to_client",
                tally.backend.payload_bytes.into(),
            ),
        ]);
        let code = end.close_code.map(CloseCode::get);
        (span.attributes).extend(code.map(|code| ("tidegate.close_code", u64::from(code).into())));
        self.tracer.emit(vec![span]);
    }
}

impl Traced {
    fn step(&mut self, name: &'static str, kind: SpanKind) -> &mut Span {
        let now = Instant::now();
        let start = self.since;
        // From one clock only, so that steps never overlap when the other one is set.
        self.since += now.saturating_duration_since(self.mark);
        self.mark = now;
        self.steps.push(Span {
            trace_id: self.root.trace_id,
            span_id: fastrand::u64(1..),
            parent: Some(self.root.span_id),
            name,
            kind,
            start,
            end: self.since,
            attributes: Vec::new(),
            error: None,
        });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.root.end = self.since + self.mark.elapsed();
        let mut spans = std::mem::take(&mut self.steps);
        spans.push(self.root.clone());
        self.tracer.emit(spans);
    }
}

/// The one parent that the request names; of two none is believed.
fn parent(request: &Request) -> Option<TraceParent> {
    let field = request.head().fields().one(TRACEPARENT).ok()??;
    TraceParent::parse(field)
}

fn of_server(server: &Server) -> Vec<(&'static str, Value)> {
    vec![
        ("tidegate.upstream", (&server.key.upstream).into()),
        ("server.address", (&server.label).into()),
    ]
}
