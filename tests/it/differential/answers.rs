//! The responses: statuses, fields, bodies.

use serde_json::{Value, json};

use super::case::Case;

/// Every status that has a body, those that nobody registered too.
pub fn statuses() -> Vec<Case> {
    let registered = [
        200..=203,
        206..=208,
        226..=226,
        300..=303,
        305..=305,
        307..=308,
        400..=418,
        421..=426,
        428..=429,
        431..=431,
        451..=451,
        500..=511,
        299..=299,
        399..=399,
        499..=499,
        599..=599,
    ];
    registered
        .into_iter()
        .flatten()
        .map(|status| asking(json!({ "status": status, "body": format!("it is {status}") })))
        .collect()
}

/// What has no body whatever its fields say, and what a HEAD is told.
pub fn bodiless() -> Vec<Case> {
    let length = |length: &str| json!([["Content-Length", length]]);
    let answers = [
        json!({ "status": 204 }),
        json!({ "status": 204, "headers": [["X-A", "b"]] }),
        json!({ "status": 205, "body": "" }),
        json!({ "status": 304 }),
        json!({ "status": 304, "headers": [["ETag", "\"a\""]] }),
        json!({ "status": 304, "headers": length("1234") }),
        json!({ "status": 200, "body": "" }),
        json!({ "status": 200, "chunks": [] }),
        json!({ "status": 404, "body": "" }),
    ];
    let heads = [
        json!({}),
        json!({ "body": "" }),
        json!({ "body": "x".repeat(1000) }),
        json!({ "chunks": ["a"] }),
        json!({ "status": 204 }),
        json!({ "status": 304 }),
        json!({ "status": 404, "body": "none" }),
        json!({ "status": 500, "body": "broken" }),
    ];
    let head = |answer| Case::new("HEAD", "/").answered(answer);
    let condition = |line: &str, answer| asking(answer).with(line);
    let mut cases: Vec<Case> = answers.into_iter().map(asking).collect();
    cases.extend(heads.into_iter().map(head));
    cases.extend([
        condition(
            "If-None-Match: \"a\"",
            json!({ "status": 304, "headers": [["ETag", "\"a\""]] }),
        ),
        condition("If-Match: \"a\"", json!({ "status": 412, "body": "" })),
        condition(
            "Range: bytes=900-",
            json!({ "status": 416, "headers": [["Content-Range", "bytes */5"]] }),
        ),
    ]);
    cases
}

/// What a response may say about itself.
pub fn fields() -> Vec<Case> {
    let long = "v".repeat(12_000);
    let fields = [
        json!([["Set-Cookie", "a=1; Path=/; HttpOnly"]]),
        json!([
            ["Set-Cookie", "a=1"],
            ["Set-Cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"],
            ["Set-Cookie", "c=\"3\""]
        ]),
        json!([["Set-Cookie", ""]]),
        json!([
            ["Link", "</a>; rel=\"next\", </b>; rel=prev"],
            ["Link", "</c>; rel=preload"]
        ]),
        json!([["Vary", "Accept-Encoding"], ["Vary", "Origin"]]),
        json!([["Vary", "*"]]),
        json!([
            ["ETag", "W/\"abc\""],
            ["Last-Modified", "Sat, 29 Oct 1994 19:43:31 GMT"]
        ]),
        json!([
            ["Cache-Control", "max-age=60, private=\"Set-Cookie\""],
            ["Age", "3"],
            ["Expires", "0"]
        ]),
        json!([["Location", "/relative?a=b"]]),
        json!([["Location", "http://a:8080/absolute#fragment"]]),
        json!([
            ["WWW-Authenticate", "Basic realm=\"a, b\""],
            ["WWW-Authenticate", "Digest nonce=\"c\", qop=\"auth\""]
        ]),
        json!([["Allow", ""]]),
        json!([["Content-Type", "text/html; charset=\"utf-8\""]]),
        json!([["Content-Type", ""]]),
        json!([
            ["Content-Language", "de, en"],
            ["Content-Location", "/here"]
        ]),
        json!([[
            "Content-Disposition",
            "attachment; filename*=UTF-8''%e2%82%ac.txt"
        ]]),
        json!([["Accept-Ranges", "bytes"], ["Accept-Patch", "text/a"]]),
        json!([
            ["Access-Control-Allow-Origin", "*"],
            ["Access-Control-Expose-Headers", "X-A"]
        ]),
        json!([
            ["Strict-Transport-Security", "max-age=1"],
            ["Content-Security-Policy", "default-src 'self'"]
        ]),
        json!([
            ["Server", "something/1.0 (odd)"],
            ["X-Powered-By", "hope"],
            ["Via", "1.1 other"]
        ]),
        json!([["Retry-After", "120"], ["Refresh", "5; url=/"]]),
        json!([["Alt-Svc", "h3=\":443\"; ma=1"]]),
        json!([["X-Forwarded-For", "1.2.3.4"], ["X-Real-IP", "1.2.3.4"]]),
        json!([["X-Empty", ""], ["X-Empty", ""]]),
        json!([["X-Latin", "gr\u{fc}\u{df}e \u{ff}"]]),
        json!([["X-Inner", "a  b\tc"]]),
        json!([["x-lower", "a"], ["X-UPPER", "b"], ["X-miXed", "c"]]),
        json!([
            ["X-Many", "1"],
            ["X-Other", "2"],
            ["x-many", "3"],
            ["X-MANY", "4"]
        ]),
        json!([["!#$%&'*+-.^_`|~0", "odd name"]]),
        json!([["X_Underscore", "a"]]),
        json!([
            ["Timing-Allow-Origin", "*"],
            ["Server-Timing", "a;dur=1.5;desc=\"b\""]
        ]),
        json!([["X-Long", long]]),
        json!(
            (0..80)
                .map(|n| json!([format!("X-{n}"), "v"]))
                .collect::<Vec<_>>()
        ),
    ];
    let mut cases: Vec<Case> = fields
        .into_iter()
        .map(|fields| asking(json!({ "headers": fields })))
        .collect();
    let said = |reason: &str| asking(json!({ "reason": reason }));
    cases.extend(["Fine", "", "Not \"quite\" what (you) expect"].map(said));
    cases.extend([1, 2, 5].map(|hints| asking(json!({ "hints": hints }))));
    // RFC 9112 section 4: nobody should read it, and a byte over 0x7e costs all of it.
    cases.push(said("Gr\u{fc}\u{df}e").but(|outcome| outcome.got.reason.clear()));
    cases
}

/// Bodies and their framing.
pub fn bodies() -> Vec<Case> {
    let encoded = |encoding: &str, base64: &str| json!({ "headers": [["Content-Encoding", encoding], ["Vary", "Accept-Encoding"]], "base64": base64 });
    let typed = |kind: &str| json!([["Content-Type", kind]]);
    let mut cases: Vec<Case> = [1, 2, 1023, 1024, 5000]
        .map(|length| asking(json!({ "body": "x".repeat(length) })))
        .to_vec();
    cases.extend(
        [
            // "hello" in each coding: passed as it is, whatever the client asked for.
            encoded("gzip", "H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA=="),
            encoded("br", "CwKAaGVsbG8D"),
            encoded("deflate", "eJzLSM3JyQcABiwCFQ=="),
            encoded("zstd", "KLUv/QRYKQAAaGVsbG8AAAAA"),
            encoded("identity", "aGVsbG8="),
            encoded("x-unknown", "AAECAwQFBgf/"),
            json!({ "chunks": ["one"] }),
            json!({ "chunks": ["one", "two", "three"] }),
            json!({ "chunks": vec!["x"; 300] }),
            json!({ "chunks": ["a".repeat(3000), "b".repeat(3000)] }),
            json!({ "chunks": ["data: 1\n\n", ": comment\n\n", "id: 2\ndata: 2\n\n"], "headers": typed("text/event-stream") }),
            json!({ "chunks": ["{}\n", "[]\n"], "headers": typed("application/x-ndjson") }),
            json!({ "chunks": ["one"], "headers": [["Trailer", "X-Sum"]], "trailers": [["X-Sum", "1"]] }),
            json!({ "chunks": ["one", "two"], "headers": [["Trailer", "X-Sum, X-More"]], "trailers": [["X-Sum", "1"], ["X-Sum", "2"], ["X-More", ""]] }),
            json!({ "chunks": [], "headers": [["Trailer", "X-Sum"]], "trailers": [["X-Sum", "1"]] }),
            json!({ "chunks": ["one"], "trailers": [["X-Unannounced", "1"]] }),
            json!({ "chunks": ["one"], "hints": 1, "trailers": [["X-Sum", "1"]] }),
            json!({ "status": 404, "chunks": ["no", "where"] }),
            json!({ "status": 206, "headers": [["Content-Range", "bytes 0-3/10"]], "body": "0123" }),
            json!({ "status": 206, "headers": typed("multipart/byteranges; boundary=a"), "body": "--a\r\n\r\n0\r\n--a--\r\n" }),
            json!({ "body": "\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" }),
            json!({ "base64": "AAECAwQFBgcICQoLDA0ODw==" }),
        ]
        .map(asking),
    );
    cases.extend(["gzip", "br;q=1, *;q=0", "identity"].map(|coding| {
        asking(encoded("gzip", "H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA=="))
            .with(format!("Accept-Encoding: {coding}"))
    }));
    cases
}

/// A GET that asks for this answer.
fn asking(answer: Value) -> Case {
    Case::get().answered(answer)
}
