//! An issuer of tokens: a key of its own, claims as the test wants them.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Issues tokens that EdDSA signs.
pub struct Issuer {
    key: Ed25519KeyPair,
    directory: TempDir,
}

impl Issuer {
    /// A fresh one.
    pub fn new() -> Self {
        let issuer = Self {
            key: Ed25519KeyPair::generate().unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        issuer.write_key();
        issuer
    }

    /// The public key.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("jwt.pem")
    }

    /// What a route says that takes its tokens from there, an inline list.
    pub fn toml(&self, from: &str) -> String {
        let file = self.file();
        let file = file.display();
        format!("from = {from}\nalgorithms = [\"EdDSA\"]\nkey_file = \"{file}\"")
    }

    /// Takes another key, in the same file.
    pub fn change_key(&mut self) {
        self.key = Ed25519KeyPair::generate().unwrap();
        self.write_key();
    }

    /// A token of these claims, just as they are.
    pub fn token_of(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT" });
        let [header, claims] =
            [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token that names this user and is good for so many seconds.
    pub fn token(&self, user: &str, seconds: u64) -> String {
        self.token_of(&json!({ "sub": user, "exp": now() + seconds }))
    }

    fn write_key(&self) {
        let der = self.key.public_key().as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        fs::write(self.file(), pem).unwrap();
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
