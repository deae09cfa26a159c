//! Where an instance answers: as an argument says it, or its file.

use std::path::Path;
use std::sync::Arc;

use hyper::Uri;

use crate::config;
use crate::config::defaults::ADMIN_BIND;
use crate::config::model::Admin;
use crate::logic::endpoint::Endpoint;

use super::Failure;

/// Where an instance answers.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Tcp(String),
    Unix(Arc<Path>),
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str =
            "not a place (write http://127.0.0.1:9900 or unix:/run/tidegate/admin.sock)";
        if let Some(path) = Endpoint::unix_path(text) {
            return Ok(Self::Unix(path.into()));
        }
        let uri: Uri = text.parse().map_err(|_| WRONG)?;
        let authority = uri.authority().ok_or(WRONG)?;
        if !matches!(uri.scheme_str(), None | Some("http")) {
            return Err(WRONG);
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self::Tcp(format!("{}:{port}", authority.host())))
    }

    pub(super) fn of(admin: &Admin, file: &Path) -> Result<Self, Failure> {
        match &admin.bind {
            None => Err(Failure::Off(file.to_owned())),
            Some(Endpoint::Unix(path)) => Ok(Self::Unix(path.clone())),
            Some(Endpoint::Tcp(address)) if address.port() == 0 => {
                Err(Failure::AnyPort(file.to_owned()))
            }
            Some(Endpoint::Tcp(address)) => {
                // Whoever listens on every address listens on loopback too.
                let host = match address.ip() {
                    ip if !ip.is_unspecified() => ip,
                    ip if ip.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
                    _ => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                Ok(Self::Tcp(
                    std::net::SocketAddr::new(host, address.port()).to_string(),
                ))
            }
        }
    }

    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a file says of the admin address. A file that is wrong elsewhere, or that needs the
/// instance's own environment, still says where to ask.
pub(super) fn admin_of(file: &Path) -> Result<Admin, Failure> {
    config::load(file).map_or_else(
        |errors| written_admin(file).ok_or(Failure::Config(errors)),
        |config| Ok(config.admin),
    )
}

fn written_admin(file: &Path) -> Option<Admin> {
    let table: toml::Table = std::fs::read_to_string(file).ok()?.parse().ok()?;
    let key = |name: &str| table.get("admin")?.get(name)?.as_str();
    let bind = match key("bind") {
        None => Some(ADMIN_BIND.into()),
        Some("off") => None,
        Some(text) => Some(match Endpoint::unix_path(text) {
            Some(path) => Endpoint::Unix(path.into()),
            None => Endpoint::Tcp(text.parse().ok()?),
        }),
    };
    let directory = file.parent()?;
    let token_file = key("token_file").map(|name| directory.join(name));
    Some(Admin { bind, token_file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_urls_or_unix_sockets() {
        for (text, place) in [
            ("http://127.0.0.1:9900", "http://127.0.0.1:9900"),
            ("http://127.0.0.1:9900/", "http://127.0.0.1:9900"),
            ("127.0.0.1:9900", "http://127.0.0.1:9900"),
            ("http://[::1]:9900", "http://[::1]:9900"),
            (
                "unix:/run/tidegate/admin.sock",
                "unix:/run/tidegate/admin.sock",
            ),
        ] {
            assert_eq!(Place::parse(text).unwrap().to_string(), place);
        }
        for text in ["", "https://127.0.0.1", "/run/admin.sock"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_instance_that_listens_everywhere_is_reached_over_loopback() {
        for (bind, place) in [
            ("0.0.0.0:9900", "http://127.0.0.1:9900"),
            ("[::]:9900", "http://[::1]:9900"),
        ] {
            let admin = Admin {
                bind: Some(Endpoint::Tcp(bind.parse().unwrap())),
                token_file: None,
            };
            assert_eq!(
                Place::of(&admin, Path::new("x")).unwrap().to_string(),
                place
            );
        }
    }
}
