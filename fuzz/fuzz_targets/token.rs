//! Any request to a route that asks for a token: no panic, nobody comes in without the key, and
//! what goes on has no token in its query.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate::logic::auth::signature::{Algorithm, Key};
use tidegate::logic::auth::{Kind, Method, Source, build, jwt};
use tidegate::logic::request::{Request, RequestHead};
use tidegate::logic::websocket::handshake::Offer;

const MAX_FIELDS: usize = 64;
const NOW: Duration = Duration::from_secs(1_700_000_000);

static METHOD: LazyLock<Arc<dyn Method>> = LazyLock::new(|| {
    let sources = ["header", "cookie:t", "query:t", "subprotocol"];
    let terms = jwt::Terms {
        from: sources.iter().filter_map(|text| Source::parse(text)).collect(),
        algorithms: vec![Algorithm::HS256, Algorithm::HS512],
        issuer: None,
        audience: None,
        user_claim: "sub".into(),
        close_at_expiry: true,
    };
    let key = Key::Secret(b"a secret that no input holds, as far as we know".to_vec());
    build(Kind::Jwt(Arc::new(terms), key)).expect("a secret fits HMAC")
});

fuzz_target!(|bytes: &[u8]| {
    let head = RequestHead::parse(Bytes::copy_from_slice(bytes), MAX_FIELDS);
    let Some(mut request) = head.ok().and_then(|head| Request::check(head).ok()) else {
        return;
    };
    let mut offer = request
        .is_websocket()
        .then(|| Offer::check(&request).ok())
        .flatten();
    let judged = METHOD.identify(&mut request, offer.as_mut(), NOW);
    if let Ok(identity) = judged {
        assert!(request.method() == "OPTIONS" && identity.user.is_none());
    }
    let query = request.query().unwrap_or_default();
    assert!(!query.split('&').any(|pair| pair == "t" || pair.starts_with("t=")));
});
