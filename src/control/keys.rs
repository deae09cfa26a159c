//! The keys that tokens are checked with: read from their files, and bound to the algorithms that
//! the routes name.

use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::config::model::{Jwt, KeyFile};
use crate::config::{Config, Errors};
use crate::logic::auth::signature::{Key, KeyFault};
use crate::logic::auth::{Kind, Method, build};
use crate::state::snapshot::Methods;
use crate::tls;

/// RFC 7518 section 3.2: a secret is no shorter than its hash, which has 32 bytes or more.
const MIN_SECRET_BYTES: usize = 32;

/// A key file that no token can be checked with.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    File(#[from] tls::Error),
    #[error("{} {fault}", file.display())]
    Misfit { file: Box<Path>, fault: KeyFault },
}

/// How each route's tokens are judged, by what the route says of them.
///
/// # Errors
/// Every file that can't be used, at the key that names it.
pub fn methods(config: &Config) -> Result<Methods, Errors> {
    let mut methods = Methods::new();
    let mut problems = Vec::new();
    for jwt in config.routes.iter().filter_map(|route| route.jwt.as_ref()) {
        if methods.contains_key(jwt) {
            continue;
        }
        match method(jwt) {
            Ok(method) => drop(methods.insert(jwt.clone(), method)),
            Err(unusable) => {
                let file = jwt.key.path();
                problems.push(config.provenance.problem_with_error(file, &unusable));
            }
        }
    }
    if problems.is_empty() {
        Ok(methods)
    } else {
        Err(problems.into_iter().collect())
    }
}

fn method(jwt: &Jwt) -> Result<Arc<dyn Method>, Unusable> {
    let key = match &jwt.key {
        KeyFile::Public(file) => Key::Public(tls::public_key(file)?),
        KeyFile::Secret(file) => Key::Secret(secret(file)?),
    };
    let built = build(Kind::Jwt(Arc::clone(&jwt.terms), key));
    built.map_err(|fault| Unusable::Misfit {
        file: jwt.key.path().into(),
        fault,
    })
}

fn secret(file: &Path) -> Result<Vec<u8>, tls::Error> {
    let secret = tls::secret(file)?;
    if secret.len() < MIN_SECRET_BYTES {
        warn!(
            file = %file.display(),
            bytes = secret.len(),
            "a secret of less than {MIN_SECRET_BYTES} bytes can be guessed from one token"
        );
    }
    Ok(secret)
}
