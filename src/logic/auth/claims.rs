//! The JSON objects of a token, read once and strictly: a name that stands twice is refused, as
//! whoever reads the token after us may take the other one (RFC 7519 section 4).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::TokenFault;

/// What an object says, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Claims(BTreeMap<String, Value>);

impl Claims {
    /// Reads an object.
    pub(super) fn parse(json: &[u8]) -> Result<Self, TokenFault> {
        serde_json::from_slice(json).map_err(|_| TokenFault::Malformed)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, TokenFault> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(TokenFault::Malformed),
        }
    }

    /// A moment, in whole seconds since the Unix epoch.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<u64>, TokenFault> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(TokenFault::Malformed),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Strictly)
    }
}

struct Strictly;

impl<'de> Visitor<'de> for Strictly {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Claims, M::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            if claims.insert(name, value).is_some() {
                return Err(M::Error::custom("a name stands twice"));
            }
        }
        Ok(Claims(claims))
    }
}
