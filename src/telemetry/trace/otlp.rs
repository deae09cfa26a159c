//! OTLP/JSON, the JSON encoding of OpenTelemetry's `ExportTraceServiceRequest`: ids in hex, 64-bit
//! numbers as texts, enumerations as numbers.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::span::{Span, SpanKind, Value};

/// The request that hands these spans to a collector.
pub fn request(spans: &[Span]) -> Json {
    let resource = [
        ("service.name", "tidegate".into()),
        ("service.version", env!("CARGO_PKG_VERSION").into()),
        ("process.pid", Value::Number(std::process::id().into())),
    ];
    let scope = json!({ "name": "tidegate", "version": env!("CARGO_PKG_VERSION") });
    let spans: Vec<Json> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

fn span(span: &Span) -> Json {
    let mut shown = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        "startTimeUnixNano": nanos(span.start),
        "endTimeUnixNano": nanos(span.end),
        "attributes": attributes(&span.attributes),
    });
    if let Some(parent) = span.parent {
        shown["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        // STATUS_CODE_ERROR
        shown["status"] = json!({ "code": 2, "message": error });
    }
    shown
}

fn attributes(attributes: &[(&str, Value)]) -> Vec<Json> {
    let attribute = |(key, value): &(&str, Value)| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": &**text }),
            Value::Number(number) => json!({ "intValue": number.to_string() }),
        };
        json!({ "key": key, "value": value })
    };
    attributes.iter().map(attribute).collect()
}

fn nanos(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_the_specification_wants_it() {
        let request = request(&[Span::example()]);
        let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        let expected = json!({
            "traceId": "00000000000000000000000000000abc",
            "spanId": "0000000000000012",
            "name": "connect",
            "kind": 3,
            "startTimeUnixNano": "0",
            "endTimeUnixNano": "1500000000",
            "attributes": [
                { "key": "server.address", "value": { "stringValue": "a" } },
                { "key": "size", "value": { "intValue": "7" } },
            ],
            "status": { "code": 2, "message": "refused" },
        });
        assert_eq!(span, &expected);
    }
}
