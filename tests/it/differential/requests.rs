//! The requests: methods, targets, fields, bodies.

use serde_json::json;

use super::case::{Case, Change};

const METHODS: [&str; 14] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "REPORT",
    "SEARCH",
    "PURGE",
    "M-SEARCH",
];

/// Every method with every framing of a body.
pub fn methods() -> Vec<Case> {
    let framings: [fn(Case) -> Case; 5] = [
        |case| case,
        |case| case.with("Content-Length: 0"),
        |case| case.sized("hello world"),
        |case| case.chunked(&["hello", " ", "world"]),
        |case| case.chunked(&[]),
    ];
    let of_one = |method| {
        framings
            .iter()
            .map(move |frame| frame(Case::new(method, "/things/1")))
    };
    METHODS.into_iter().flat_map(of_one).collect()
}

/// Where they go: what is legal and odd passes as it is, what has several spellings gets one.
pub fn targets() -> Vec<Case> {
    let long_path = format!("/{}", "a".repeat(4000));
    let long_query = format!("/?q={}", "b".repeat(8000));
    let passing = [
        "/",
        "/?",
        "/??",
        "/?a",
        "/?a=b&c=d&a=e",
        "/a/b/c",
        "/a/",
        "/a/b/?",
        "/a%20b",
        "/%E2%82%AC",
        "/a+b",
        "/a;b=c",
        "/a;b=c/d;e",
        "/a,b",
        "/a:b@c",
        "/@a",
        "/!$&'()*+,;=",
        "/a%3Bb%3Fc%23d",
        "/.hidden",
        "/a..b/c...d",
        "/...",
        "/-_.~",
        "/~user",
        "/a%25b",
        "/a%0Ab",
        "/?q=%2F%5C%2e%2E%00",
        "/?next=http://b/c?d=e",
        "/?q=/../..//",
        "/?q=a+b%20c",
        "/?q=%zz&%",
        "/?a=1;b=2",
        "/?:@!$'()*,",
        "/?[a]={b}|c^d",
        &long_path,
        &long_query,
    ];
    // CONTRACT section 2: a path has one form.
    let changed: [(&str, Change); 8] = [
        ("/%7Euser", |seen| seen.seen.target = "/~user".into()),
        ("/%41%42c", |seen| seen.seen.target = "/ABc".into()),
        ("/a%2Db%2e%5fc", |seen| seen.seen.target = "/a-b._c".into()),
        ("/%e2%82%ac", |seen| seen.seen.target = "/%E2%82%AC".into()),
        ("/?%41%e2", |_| {}),
        ("/?`\"<>", |seen| seen.seen.target = "/?%60%22%3C%3E".into()),
        ("http://a/x?y", |seen| seen.seen.target = "/x?y".into()),
        ("http://a", |seen| seen.seen.target = "/".into()),
    ];
    let passing = passing.iter().map(|target| Case::new("GET", target));
    let changed = changed.into_iter().map(|(target, change)| {
        let case = Case::new("GET", target).but(change);
        case.answered(json!({ "body": "seen" }))
    });
    passing.chain(changed).collect()
}

/// What a request may say about itself.
pub fn fields() -> Vec<Case> {
    let long = format!("X-Long: {}", "v".repeat(12_000));
    let lines: [&[&str]; 46] = [
        &["Accept: */*"],
        &["Accept: text/html, application/xhtml+xml;q=0.9, */*;q=0.8"],
        &["Accept: text/html", "Accept: text/plain"],
        &["Accept-Encoding: gzip, br, zstd, identity;q=0, *;q=0.1"],
        &["Accept-Encoding:"],
        &["Accept-Language: de-CH, de;q=0.9"],
        &["Authorization: Basic dXNlcjpwYXNz"],
        &["Authorization: Bearer a.b.c"],
        &["Cookie: a=1; b=2; c=\"3\""],
        &["Cookie: a=1", "Cookie: b=2"],
        &["Cookie: $Version=1; =; ;;"],
        &["User-Agent: a/1 (b; c) d/2"],
        &["User-Agent:"],
        &["Referer: http://a/b?c=d"],
        &["Origin: null"],
        &["Range: bytes=0-99"],
        &["Range: bytes=-5, 10-"],
        &["If-Range: \"abc\"", "Range: bytes=1-"],
        &["If-None-Match: \"a\", W/\"b\""],
        &["If-None-Match: *"],
        &["If-Match: \"a\""],
        &["If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT"],
        &["If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT"],
        &["Cache-Control: no-cache", "Pragma: no-cache"],
        &["Max-Forwards: 3"],
        &["Via: 1.0 fred, 1.1 example.com"],
        &["DNT: 1", "Sec-Fetch-Mode: cors", "Sec-CH-UA: \"a\";v=\"1\""],
        &["X-Empty:"],
        &["X-Empty: ", "X-Empty: \t "],
        &["X-Tabs:\ta\tb\t"],
        &["X-Spaces:    a   b   "],
        &["X-None:a"],
        &["X-Colons: a:b::c"],
        &["X-Quoted: \"a\\\"b, c\""],
        &["X-Latin: gr\u{fc}\u{df}e \u{ff}"],
        &["X-Many: 1", "X-Other: 2", "x-many: 3", "X-MANY: 4"],
        &["x-lower: a", "X-UPPER: b", "X-miXed: c"],
        &["!#$%&'*+-.^_`|~0: odd name"],
        &["X_Underscore: a"],
        &["1: digit"],
        &["Content-Type: application/json"],
        &["Content-Type: multipart/form-data; boundary=\"a b\""],
        &["Content-Encoding: gzip"],
        &[
            "X-Requested-With: XMLHttpRequest",
            "X-HTTP-Method-Override: PUT",
        ],
        &[
            "Priority: u=1, i",
            "Early-Data: 0",
            "Traceparent: 00-a-b-01",
        ],
        &[&long],
    ];
    let mut cases: Vec<Case> = lines
        .iter()
        .map(|lines| {
            lines
                .iter()
                .fold(Case::get(), |case, &line| case.with(line))
        })
        .collect();
    cases.push((0..85).fold(Case::get(), |case, n| case.with(format!("X-{n}: {n}"))));
    // RFC 9112 section 2.2: a server takes an empty line before a request.
    cases.extend(
        [
            "a.example:8080",
            "[::1]",
            "[::1]:80",
            "127.0.0.1",
            "A.Example",
        ]
        .map(|host| Case::get().with(format!("Host: {host}"))),
    );
    cases
}

/// Bodies and their framing.
pub fn bodies() -> Vec<Case> {
    let post = || Case::new("POST", "/upload");
    let chunked = |wire: &str| post().with("Transfer-Encoding: chunked").sending(wire);
    let bytes: Vec<u8> = (0..=255).collect();
    let many: Vec<&str> = (0..500).map(|_| "x").collect();
    let big = "0123456789abcdef".repeat(1 << 16);
    let mut cases: Vec<Case> = [0, 1, 2, 1023, 1024, 16_383, 16_384, 16_385, 65_536, 1 << 20]
        .map(|length| post().sized(&big.as_bytes()[..length]))
        .to_vec();
    cases.extend([
        post().sized(&bytes),
        post().chunked(&many),
        post().chunked(&[&big[..100_000], "", &big[..7]][..1]),
        post().chunked(&[&big]),
        post().with("Content-Encoding: gzip").sized([
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]),
        post().with("Content-Encoding: br").sized([0x3b]),
        post()
            .with("Content-Type: application/x-www-form-urlencoded")
            .sized("a=b&c=d+e"),
        post()
            .with("Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==")
            .sized(""),
        chunked("5;a=b\r\nhello\r\n0\r\n\r\n"),
        chunked("5;a=\"b;c\"\r\nhello\r\n0;last\r\n\r\n"),
        chunked("005\r\nhello\r\n000\r\n\r\n"),
        chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
        chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").with("Trailer: X-Sum"),
        chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\nX-More:\r\n\r\n")
            .with("Trailer: X-Sum, X-More"),
        chunked("0\r\nX-Sum: 1\r\n\r\n").with("Trailer: X-Sum"),
        // RFC 9110 section 6.5.1: a recipient need not keep what was not announced.
        chunked("5\r\nhello\r\n0\r\nX-Unannounced: 1\r\n\r\n")
            .but(|seen| drop(seen.seen.trailers.remove("x-unannounced"))),
        post().waiting().sized("hello"),
        post().waiting().sized(&big),
        post().waiting().chunked(&["hello", "world"]),
        Case::new("PUT", "/upload").waiting().sized("x"),
        // A second request that is not one: it stands inside the first one's body.
        post().sized("GET /inside HTTP/1.1\r\nHost: b\r\n\r\n"),
        post().chunked(&["GET /inside HTTP/1.1\r\nHost: b\r\n\r\n"]),
    ]);
    cases
}

/// What older clients send.
pub fn old() -> Vec<Case> {
    let chunks = json!({ "chunks": ["one", "two"] });
    let get = || Case::get().old();
    vec![
        get(),
        get().with("Connection: keep-alive"),
        get().with("Connection: close"),
        Case::new("HEAD", "/").old(),
        Case::new("POST", "/").old().sized("hello"),
        Case::new("POST", "/")
            .old()
            .with("Connection: keep-alive")
            .sized("hello"),
        Case::new("PUT", "/").old().sized(""),
        Case::new("DELETE", "/").old(),
        get().with("Host: b"),
        get().answered(chunks.clone()),
        get().with("Connection: keep-alive").answered(chunks),
        get().answered(json!({ "status": 204 })),
        get().answered(json!({ "status": 304 })),
        get().answered(json!({ "status": 404, "body": "none" })),
        get()
            .with("Pragma: no-cache")
            .with("User-Agent: Mozilla/1.0"),
    ]
}
