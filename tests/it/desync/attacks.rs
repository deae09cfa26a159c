//! What parsers end in different places, and what only looks so.

/// Comes behind every attack: whoever takes it for a request was misled.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads of a POST whose length is in doubt, and bodies that fit one reading of it.
pub const LENGTHS: [(&str, &str); 52] = [
    // CL.TE, TE.CL and their spellings.
    (
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "0\r\n\r\nG",
    ),
    ("Transfer-Encoding: chunked\r\nContent-Length: 4", "5c\r\n"),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "0\r\n\r\n",
    ),
    (
        "transfer-encoding: CHUNKED\r\ncOnTeNt-LeNgTh: 5",
        "0\r\n\r\n",
    ),
    (
        "Content-Length: 5\r\nX: y\r\nTransfer-Encoding: identity",
        "hello",
    ),
    // TE.TE.
    ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunkedx", "0\r\n\r\n"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("Transfer-Encoding\t: chunked", "0\r\n\r\n"),
    ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ("Transfer-Encoding: identity, chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
    ),
    ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: \u{c}chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: \u{a0}chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\0", "0\r\n\r\n"),
    ("Transfer-Encoding:", "0\r\n\r\n"),
    ("Transfer_Encoding: chunked", "0\r\n\r\n"),
    ("X: y\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("X: y\rTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("\rTransfer-Encoding: chunked", "0\r\n\r\n"),
    // Lengths.
    ("Content-Length: 5\r\nContent-Length: 6", "hello"),
    ("Content-Length: 5\r\nContent-Length: 5", "hello"),
    ("Content-Length: 5, 5", "hello"),
    ("Content-Length: 5,6", "hello"),
    ("Content-Length: +5", "hello"),
    ("Content-Length: -1", "hello"),
    ("Content-Length: -0", ""),
    ("Content-Length: 0x5", "hello"),
    ("Content-Length: 5 5", "hello"),
    ("Content-Length: 1e1", "hello"),
    ("Content-Length: 5;", "hello"),
    ("Content-Length: 5.0", "hello"),
    ("Content-Length: \"5\"", "hello"),
    ("Content-Length:", "hello"),
    ("Content-Length: five", "hello"),
    ("Content-Length: 9223372036854775808", "hello"),
    ("Content-Length: 18446744073709551616", "hello"),
    ("Content-Length: 18446744073709551621", "hello"),
    ("Content-Length: 99999999999999999999", "hello"),
    ("Content-Length : 5", "hello"),
    ("Content_Length: 5", "hello"),
    ("Content-Length\0: 5", "hello"),
    ("Content-Length: 5\0", "hello"),
    ("Content-Length: \u{b2}", "hello"),
];

/// Bodies that are no chunks, though they look like some.
pub const CHUNKS: [&str; 24] = [
    "5;\nhello\r\n0\r\n\r\n",
    "5;a=\"\nhello\"\r\nhello\r\n0\r\n\r\n",
    "5;a\0b\r\nhello\r\n0\r\n\r\n",
    "5;\rhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n",
    "5g\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    ";a\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff0\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nno field\r\n\r\n",
    "5\r\nhello\r\n0\r\n folded: a\r\n\r\n",
    "5\r\nhello\r\n0\r\nA : b\r\n\r\n",
];

/// Heads that are wrong in other places.
pub const HEADS: [&str; 20] = [
    "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\thttp HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nwith space: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: nameless\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "GET / http/1.1\r\nHost: a\r\n\r\n",
    "GET /\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Requests whose end is beyond doubt, with what misleads a careless parser inside: each with the
/// method of its own response, and all of them to `/one`, followed by a GET of `/two`.
pub fn legal() -> Vec<(&'static str, String)> {
    let length = SMUGGLED.len();
    let request = |method: &str, fields: &str, body: &str| {
        format!("{method} /one HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
    };
    let sized = format!("Content-Length: {length}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let zeros = format!("{length:08x};a=\"b\"\r\n{SMUGGLED}\r\n000\r\n\r\n");
    let mut rows: Vec<(&str, String)> = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]
        .into_iter()
        .flat_map(|method| {
            [
                (method, request(method, &sized, SMUGGLED)),
                (method, request(method, chunked, &chunks)),
            ]
        })
        .collect();
    let mut post = |fields: String, body: &str| rows.push(("POST", request("POST", &fields, body)));
    post(format!("{sized}Expect: 100-continue\r\n"), SMUGGLED);
    post(format!("{chunked}Expect: 100-continue\r\n"), &chunks);
    post(
        "Content-Length: 0\r\nExpect: 100-continue\r\n".to_owned(),
        "",
    );
    post("Expect: 100-continue\r\n".to_owned(), "");
    post(format!("{sized}Connection: Content-Length\r\n"), SMUGGLED);
    post(
        format!("{chunked}Connection: Transfer-Encoding\r\n"),
        &chunks,
    );
    post(format!("{sized}Connection: Host, X\r\nX: y\r\n"), SMUGGLED);
    post(
        format!("{sized}Keep-Alive: timeout=5\r\nProxy-Connection: close\r\n"),
        SMUGGLED,
    );
    post(
        format!("{sized}X-Content-Length: 0\r\nContent-Length-X: 0\r\n"),
        SMUGGLED,
    );
    post(chunked.to_owned(), &zeros);
    post("Transfer-Encoding:\tchunked \r\n".to_owned(), &chunks);
    post("tRANSFER-eNCODING: Chunked\r\n".to_owned(), &chunks);
    post(format!("Content-Length: 000{length}\r\n"), SMUGGLED);
    rows
}
