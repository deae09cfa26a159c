//! Tokens good and bad, against a clock of the test's.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::jwt::{Jwt, MAX_TOKEN_BYTES, Terms};
use super::signature::{Algorithm, Key, KeyFault};
use super::*;
use crate::logic::request::testing::request;
use TokenFault as F;

const NOW: Duration = Duration::from_secs(1_700_000_000);
const SECRET: &[u8] = b"a secret of the tests, of 32 bytes";

static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static P256: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
static P384: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap());
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

fn key(algorithm: Algorithm) -> Key {
    use Algorithm::{ES256, ES384, EdDSA};
    let der = match algorithm {
        _ if algorithm.is_symmetric() => return Key::Secret(SECRET.to_vec()),
        ES256 => P256.public_key().as_der(),
        ES384 => P384.public_key().as_der(),
        EdDSA => ED.public_key().as_der(),
        _ => RSA.public_key().as_der(),
    };
    Key::Public(der.unwrap().as_ref().to_vec())
}

fn sign(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    use Algorithm::*;
    let random = SystemRandom::new();
    let hmac = |means| {
        let key = hmac::Key::new(means, SECRET);
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let ecdsa = |pair: &EcdsaKeyPair| pair.sign(&random, message).unwrap().as_ref().to_vec();
    let rsa = |padding| {
        let mut signature = vec![0; RSA.public_modulus_len()];
        RSA.sign(padding, &random, message, &mut signature).unwrap();
        signature
    };
    match algorithm {
        HS256 => hmac(hmac::HMAC_SHA256),
        HS384 => hmac(hmac::HMAC_SHA384),
        HS512 => hmac(hmac::HMAC_SHA512),
        RS256 => rsa(&RSA_PKCS1_SHA256),
        RS384 => rsa(&RSA_PKCS1_SHA384),
        RS512 => rsa(&RSA_PKCS1_SHA512),
        PS256 => rsa(&RSA_PSS_SHA256),
        PS384 => rsa(&RSA_PSS_SHA384),
        PS512 => rsa(&RSA_PSS_SHA512),
        ES256 => ecdsa(&P256),
        ES384 => ecdsa(&P384),
        EdDSA => ED.sign(message).as_ref().to_vec(),
    }
}

/// A token of just these texts, signed by that algorithm's key.
fn token_of(algorithm: Algorithm, header: &str, claims: &str) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let signature = encode(&sign(algorithm, message.as_bytes()));
    format!("{message}.{signature}")
}

fn token(algorithm: Algorithm, claims: &Value) -> String {
    let header = json!({ "alg": algorithm.word(), "typ": "JWT" });
    token_of(algorithm, &header.to_string(), &claims.to_string())
}

fn good() -> Value {
    json!({ "sub": "ann", "exp": NOW.as_secs() + 600 })
}

/// Good claims with these in place of their namesakes; null takes one away.
fn with(changes: &Value) -> Value {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn terms(algorithms: &[Algorithm]) -> Terms {
    Terms {
        from: vec![Source::Header],
        algorithms: algorithms.to_vec(),
        issuer: None,
        audience: None,
        user_claim: "sub".into(),
        close_at_expiry: true,
    }
}

fn judged(terms: Terms, key: Key, token: &str) -> Result<Identity, TokenFault> {
    let jwt = Jwt::new(Arc::new(terms), &key).unwrap();
    jwt.judge(token.as_bytes(), NOW)
}

/// The verdict on a token for which ES256 alone counts.
fn verdict(token: &str) -> Result<Identity, TokenFault> {
    judged(terms(&[Algorithm::ES256]), key(Algorithm::ES256), token)
}

fn verdict_on(claims: &Value) -> Result<Identity, TokenFault> {
    verdict(&token(Algorithm::ES256, claims))
}

#[test]
fn a_good_token_of_each_algorithm_names_its_user() {
    for algorithm in Algorithm::ALL {
        let token = token(algorithm, &good());
        let identity = judged(terms(&[algorithm]), key(algorithm), &token).unwrap();
        assert_eq!(identity.user.as_deref(), Some("ann"), "{algorithm:?}");
        assert_eq!(identity.until, Some(NOW + Duration::from_secs(600)));
    }
}

#[test]
fn a_token_signed_by_another_algorithm_than_those_named_is_refused() {
    for algorithm in Algorithm::ALL
        .into_iter()
        .filter(|it| *it != Algorithm::ES256)
    {
        let refused = verdict(&token(algorithm, &good()));
        assert_eq!(refused, Err(F::Algorithm), "{algorithm:?}");
        // That the header claims the right one does not help.
        let disguised = token_of(algorithm, r#"{"alg":"ES256"}"#, &good().to_string());
        assert_eq!(verdict(&disguised), Err(F::Signature), "{algorithm:?}");
    }
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":"es256"}"#,
    ] {
        let token = token_of(Algorithm::ES256, header, &good().to_string());
        assert_eq!(verdict(&token), Err(F::Algorithm), "{header}");
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_eq!(verdict(&format!("{unsigned}.")), Err(F::Algorithm));
    }
}

/// ATTACKS L04.
#[test]
fn a_public_key_is_never_a_secret() {
    let Key::Public(der) = key(Algorithm::RS256) else {
        unreachable!("it is public")
    };
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n", URL_SAFE.encode(&der));
    for secret in [
        der.clone(),
        pem.clone().into_bytes(),
        format!(" {pem}").into_bytes(),
    ] {
        let claims = URL_SAFE_NO_PAD.encode(good().to_string());
        for alg in ["HS256", "RS256"] {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#));
            let message = format!("{header}.{claims}");
            let tag = hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, &secret),
                message.as_bytes(),
            );
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
            let refused = judged(terms(&[Algorithm::RS256]), Key::Public(der.clone()), &token);
            assert!(
                matches!(refused, Err(F::Algorithm | F::Signature)),
                "{alg}: {refused:?}"
            );
        }
    }
    let both = Kind::Jwt(
        Arc::new(terms(&[Algorithm::RS256, Algorithm::HS256])),
        Key::Public(der),
    );
    assert_eq!(build(both).unwrap_err(), KeyFault(Algorithm::HS256));
}

#[test]
fn a_key_fits_its_own_algorithms_alone() {
    let family = |algorithm: Algorithm| algorithm.word()[..1].replace('P', "R");
    for algorithm in Algorithm::ALL {
        for owner in Algorithm::ALL {
            let fits = family(algorithm) == family(owner)
                && (algorithm == owner || !algorithm.word().starts_with('E'));
            let built = build(Kind::Jwt(Arc::new(terms(&[algorithm])), key(owner)));
            assert_eq!(
                built.is_ok(),
                fits,
                "{algorithm:?} with the key of {owner:?}"
            );
        }
    }
    for bad in [
        Key::Secret(Vec::new()),
        Key::Public(Vec::new()),
        Key::Public(vec![0x30; 90]),
    ] {
        for algorithm in Algorithm::ALL {
            assert!(build(Kind::Jwt(Arc::new(terms(&[algorithm])), bad.clone())).is_err());
        }
    }
}

/// ATTACKS L05.
#[test]
fn a_token_is_good_in_its_time_alone() {
    let now = NOW.as_secs();
    let rows = [
        (json!({ "exp": now + 1 }), Ok(())),
        (json!({ "exp": now }), Err(F::Expired)),
        (json!({ "exp": 0 }), Err(F::Expired)),
        (json!({ "exp": null }), Err(F::Endless)),
        (json!({ "exp": u64::MAX }), Ok(())),
        (json!({ "exp": (now + 600).to_string() }), Err(F::Malformed)),
        (json!({ "exp": 1e12 }), Err(F::Malformed)),
        (json!({ "exp": -1 }), Err(F::Malformed)),
        (json!({ "exp": true }), Err(F::Malformed)),
        (json!({ "exp": [now + 600] }), Err(F::Malformed)),
        (json!({ "nbf": now + 60 }), Ok(())),
        (json!({ "nbf": now + 61 }), Err(F::Early)),
        (json!({ "nbf": "0" }), Err(F::Malformed)),
        (json!({ "iat": now + 60 }), Ok(())),
        (json!({ "iat": now + 61 }), Err(F::Early)),
        (json!({ "iat": 1.5 }), Err(F::Malformed)),
        (json!({ "iat": 0, "nbf": 0 }), Ok(())),
    ];
    for (changes, expected) in rows {
        assert_eq!(verdict_on(&with(&changes)).map(drop), expected, "{changes}");
    }
    let endless = token_of(Algorithm::ES256, r#"{"alg":"ES256"}"#, r#"{"exp":1e400}"#);
    assert_eq!(verdict(&endless), Err(F::Malformed));
    let explicit = token_of(Algorithm::ES256, r#"{"alg":"ES256"}"#, r#"{"exp":null}"#);
    assert_eq!(verdict(&explicit), Err(F::Malformed));
}

/// ATTACKS L07.
#[test]
fn issuer_and_audience_are_compared_where_they_are_configured() {
    let rows = [
        (json!({ "iss": "us", "aud": "chat" }), Ok(())),
        (json!({ "iss": "us", "aud": ["games", "chat"] }), Ok(())),
        (json!({ "iss": "us", "aud": ["games"] }), Err(F::Audience)),
        (json!({ "iss": "us", "aud": [] }), Err(F::Audience)),
        (json!({ "iss": "us", "aud": "chats" }), Err(F::Audience)),
        (json!({ "iss": "us" }), Err(F::Audience)),
        (
            json!({ "iss": "us", "aud": ["chat", 1] }),
            Err(F::Malformed),
        ),
        (
            json!({ "iss": "us", "aud": { "chat": 1 } }),
            Err(F::Malformed),
        ),
        (json!({ "aud": "chat" }), Err(F::Issuer)),
        (json!({ "iss": "Us", "aud": "chat" }), Err(F::Issuer)),
        (json!({ "iss": ["us"], "aud": "chat" }), Err(F::Malformed)),
    ];
    for (changes, expected) in rows {
        let terms = Terms {
            issuer: Some("us".into()),
            audience: Some("chat".into()),
            ..terms(&[Algorithm::ES256])
        };
        let token = token(Algorithm::ES256, &with(&changes));
        let verdict = judged(terms, key(Algorithm::ES256), &token).map(drop);
        assert_eq!(verdict, expected, "{changes}");
    }
    assert!(verdict_on(&with(&json!({ "iss": "anybody", "aud": "anything" }))).is_ok());
}

#[test]
fn the_user_is_a_text_or_a_number_or_nobody() {
    let user = |value: Value| verdict_on(&with(&json!({ "sub": value }))).map(|it| it.user);
    assert_eq!(user(json!("zoë")).unwrap().as_deref(), Some("zoë"));
    assert_eq!(user(json!(42)).unwrap().as_deref(), Some("42"));
    assert_eq!(user(Value::Null), Ok(None));
    for value in [json!(1.5), json!(true), json!(["ann"]), json!({ "a": 1 })] {
        assert_eq!(user(value.clone()), Err(F::Malformed), "{value}");
    }
    let terms = Terms {
        user_claim: "email".into(),
        close_at_expiry: false,
        ..terms(&[Algorithm::ES256])
    };
    let token = token(Algorithm::ES256, &with(&json!({ "email": "a@b" })));
    let identity = judged(terms, key(Algorithm::ES256), &token).unwrap();
    assert_eq!(
        (identity.user.as_deref(), identity.until),
        (Some("a@b"), None)
    );
}

/// ATTACKS L08.
#[test]
fn what_is_no_token_is_refused() {
    let good = token(Algorithm::ES256, &good());
    let [header, claims, signature] = good.splitn(3, '.').collect::<Vec<_>>()[..] else {
        unreachable!("three parts")
    };
    let padded = format!("{header}.{claims}.{signature}==");
    let rows = [
        (String::new(), F::Malformed),
        ("..".to_owned(), F::Malformed),
        (format!("{header}.{claims}"), F::Malformed),
        (format!("{good}.{signature}"), F::Malformed),
        (format!("{good}."), F::Malformed),
        (padded, F::Malformed),
        (good.replace(header, &format!("{header}=")), F::Malformed),
        (good.replace(signature, &signature[1..]), F::Malformed),
        (good.replace(signature, &signature[4..]), F::Signature),
        (good.replace(signature, ""), F::Signature),
        (
            good.replace(signature, &URL_SAFE_NO_PAD.encode([0; 64])),
            F::Signature,
        ),
        (good.replace(claims, &claims.to_lowercase()), F::Signature),
        ("é".repeat(30), F::Malformed),
        ("a".repeat(MAX_TOKEN_BYTES), F::Malformed),
        ("a".repeat(MAX_TOKEN_BYTES + 1), F::TooLarge),
    ];
    for (token, fault) in rows {
        assert_eq!(verdict(&token), Err(fault), "{token:.60}");
    }
}

#[test]
fn a_short_ed25519_signature_is_refused() {
    let good = token(Algorithm::EdDSA, &good());
    let (message, signature) = good.rsplit_once('.').unwrap();
    for signature in [&signature[4..], "AAAA", ""] {
        let token = format!("{message}.{signature}");
        let verdict = judged(terms(&[Algorithm::EdDSA]), key(Algorithm::EdDSA), &token);
        assert_eq!(verdict, Err(F::Signature), "{signature}");
    }
}

#[test]
fn headers_and_claims_are_objects_whose_names_stand_once() {
    let alg = r#"{"alg":"ES256"}"#;
    let exp = NOW.as_secs() + 600;
    let claims = format!(r#"{{"exp":{exp}}}"#);
    let rows = [
        (
            r#"{"alg":"ES256","alg":"ES256"}"#.to_owned(),
            claims.clone(),
            F::Malformed,
        ),
        (r#"{"alg":1}"#.to_owned(), claims.clone(), F::Malformed),
        (
            r#"{"alg":["ES256"]}"#.to_owned(),
            claims.clone(),
            F::Malformed,
        ),
        ("{}".to_owned(), claims.clone(), F::Malformed),
        ("[]".to_owned(), claims.clone(), F::Malformed),
        (
            r#"{"alg":"ES256","crit":["b64"],"b64":false}"#.to_owned(),
            claims.clone(),
            F::Critical,
        ),
        (
            r#"{"alg":"ES256","crit":[]}"#.to_owned(),
            claims.clone(),
            F::Critical,
        ),
        (
            r#"{"alg":"ES256","crit":null}"#.to_owned(),
            claims,
            F::Critical,
        ),
        (
            alg.to_owned(),
            format!(r#"{{"exp":{exp},"exp":{exp}}}"#),
            F::Malformed,
        ),
        (
            alg.to_owned(),
            format!(r#"{{"exp":{exp},"\u0065xp":{exp}}}"#),
            F::Malformed,
        ),
        (
            alg.to_owned(),
            format!(r#"{{"exp":{exp},"x":1,"x":2}}"#),
            F::Malformed,
        ),
        (
            alg.to_owned(),
            format!(r#"{{"exp":{exp}}} "#) + "{}",
            F::Malformed,
        ),
        (alg.to_owned(), format!("[{exp}]"), F::Malformed),
        (
            alg.to_owned(),
            format!(r#"{{"exp":{exp},"x":{}}}"#, "[".repeat(8_000)),
            F::Malformed,
        ),
    ];
    for (header, claims, fault) in rows {
        let token = token_of(Algorithm::ES256, &header, &claims);
        assert_eq!(verdict(&token), Err(fault), "{header} {claims:.80}");
    }
}

#[test]
fn the_worst_token_costs_milliseconds() {
    let nested = format!(r#"{{"exp":1,"x":{}"#, r#"{"a":"#.repeat(1_500));
    let many: Vec<String> = (0..1_200).map(|n| format!(r#""{n}":0"#)).collect();
    for claims in [nested, format!("{{{}}}", many.join(","))] {
        let token = token_of(Algorithm::ES256, r#"{"alg":"ES256"}"#, &claims);
        assert!(token.len() <= MAX_TOKEN_BYTES, "{}", token.len());
        let begun = Instant::now();
        assert!(verdict(&token).is_err());
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn a_preflight_needs_no_token_and_names_nobody() {
    let method = build(Kind::Jwt(
        Arc::new(terms(&[Algorithm::ES256])),
        key(Algorithm::ES256),
    ));
    let method = method.unwrap();
    let lines = "Origin: https://a\r\nAccess-Control-Request-Method: GET\r\n";
    let judged = |start: &str, lines: &str| {
        let head = format!("{start} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        method.identify(&mut request(head).unwrap(), None, NOW)
    };
    assert_eq!(judged("OPTIONS /", lines), Ok(Identity::default()));
    assert_eq!(judged("GET /", lines), Err(F::Missing));
    assert_eq!(
        judged("OPTIONS /", "Origin: https://a\r\n"),
        Err(F::Missing)
    );
    let body = format!("{lines}Content-Length: 1\r\n");
    assert_eq!(judged("OPTIONS /", &body), Err(F::Missing));
    let shown = format!("{lines}Authorization: Bearer x\r\n");
    assert_eq!(judged("OPTIONS /", &shown), Err(F::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_are_a_token(token in "[ -~]{0,200}|[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(verdict(&token).is_err());
    }

    #[test]
    fn what_is_signed_is_judged_whatever_it_says(
        header in r#"\{"alg":"ES256"(,"[a-z]{1,4}":[0-9]{1,3})?\}|\PC{0,40}"#,
        claims in r#"\{("(exp|nbf|iat|aud|iss|sub)":("[a-z]{0,3}"|-?[0-9]{1,20}|\[\]|null),?){0,4}\}|\PC{0,80}"#,
    ) {
        let token = token_of(Algorithm::ES256, &header, &claims);
        if let Ok(identity) = verdict(&token) {
            let claims: Value = serde_json::from_str(&claims).unwrap();
            prop_assert!(claims["exp"].as_u64().unwrap() > NOW.as_secs());
            prop_assert_eq!(identity.user.as_deref(), claims["sub"].as_str());
        }
    }

    #[test]
    fn one_bit_more_or_less_and_it_is_no_token(at in 0_usize..120, bit in 0_u8..7) {
        let mut token = token(Algorithm::ES256, &good()).into_bytes();
        let at = at % token.len();
        token[at] ^= 1 << bit;
        if let Ok(token) = String::from_utf8(token)
            && token.bytes().all(|byte| byte.is_ascii_graphic())
        {
            prop_assert!(verdict(&token).is_err(), "{}", token);
        }
    }
}
