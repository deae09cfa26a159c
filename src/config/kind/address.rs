//! Kinds that are addresses: where to listen, whom to trust, where a server is.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};
use rustls::pki_types::ServerName;
use serde_json::{Value as Json, json};

use super::{Describe, Kind, Written, text};
use crate::config::model::ServerAddress;
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::logic::endpoint::Endpoint;

/// An address to listen on: `0.0.0.0:443`, `[::]:443`, `unix:/run/tidegate.sock`.
pub(in crate::config) struct Listen;

impl Describe for Listen {
    fn words(&self) -> String {
        "address such as `\"0.0.0.0:443\"` or `\"unix:/run/tidegate/public.sock\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<Endpoint> for Listen {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Endpoint> {
        let instead = r#"write "0.0.0.0:443", "[::]:443" or "unix:/run/tidegate/public.sock""#;
        let text = reader.text(node, instead)?;
        if let Some(path) = Endpoint::unix_path(&text) {
            return unix_socket(path, node, reader);
        }
        let address = text.parse().ok().map(Endpoint::Tcp);
        if address.is_none() {
            reader.wrong(node, "not an IP address and port", instead);
        }
        address
    }

    fn write(&self, value: &Endpoint) -> Written {
        Written::Text(value.to_string())
    }
}

/// A network, `10.0.0.0/8`, or one address.
pub(in crate::config) struct Network;

impl Describe for Network {
    fn words(&self) -> String {
        "network such as `\"10.0.0.0/8\"` or address".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<IpNet> for Network {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<IpNet> {
        let instead = r#"write "10.0.0.0/8", "2001:db8::/32" or an address"#;
        let text = reader.text(node, instead)?;
        let network = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .ok();
        if network.is_none() {
            reader.wrong(node, "not a network", instead);
        }
        network.map(|network: IpNet| canonical(network.trunc()))
    }

    fn write(&self, value: &IpNet) -> Written {
        Written::Text(value.to_string())
    }
}

/// An IP address of this machine.
pub(in crate::config) struct Ip;

impl Describe for Ip {
    fn words(&self) -> String {
        "address such as `\"10.0.0.5\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<IpAddr> for Ip {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<IpAddr> {
        let instead = r#"write "10.0.0.5" or "2001:db8::5""#;
        let address = reader.text(node, instead)?.parse().ok();
        if address.is_none() {
            reader.wrong(node, "not an IP address", instead);
        }
        address
    }

    fn write(&self, value: &IpAddr) -> Written {
        Written::Text(value.to_string())
    }
}

/// Where a server is: `host:port`, `[v6]:port` or `unix:/path`.
pub(in crate::config) struct Address;

impl Describe for Address {
    fn words(&self) -> String {
        "address such as `\"10.0.0.1:8080\"`, `\"[2001:db8::1]:8080\"`, `\"app.internal:8080\"` or \
         `\"unix:/run/app.sock\"`"
            .to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<ServerAddress> for Address {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<ServerAddress> {
        let instead = r#"write "10.0.0.1:8080", "[2001:db8::1]:8080", "app.internal:8080" or "unix:/run/app.sock""#;
        let written = reader.text(node, instead)?;
        if let Some(path) = Endpoint::unix_path(&written) {
            return unix_socket(path, node, reader).map(ServerAddress::Fixed);
        }
        let address = server_address(&written);
        if address.is_none() {
            reader.wrong(node, "not a host and port", instead);
        }
        address
    }

    fn write(&self, value: &ServerAddress) -> Written {
        Written::Text(value.to_string())
    }
}

/// Whether a text can be looked up: letters, digits, hyphens and underscores between dots.
pub(in crate::config) fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253 && host.split('.').all(label)
}

/// Whether a certificate can be for this name or IP address.
pub(in crate::config) fn is_certifiable(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

/// What [`is_certifiable`] takes.
pub(in crate::config) const CERTIFIABLE_NAME: text::Text = text::Text {
    words: "host name or IP address",
    example: "app.internal",
    accepts: is_certifiable,
};

/// A path that the kernel takes for a unix socket.
fn unix_socket(path: &Path, node: &Node, reader: &mut Reader) -> Option<Endpoint> {
    let length = path.as_os_str().len();
    let most = Endpoint::MAX_PATH_BYTES;
    let wrong = if !path.is_absolute() {
        "not an absolute path".to_owned()
    } else if path.as_os_str().as_encoded_bytes().contains(&0) {
        "has a zero byte in it".to_owned()
    } else if length > most {
        format!("path of {length} bytes, the kernel takes {most}")
    } else {
        return Some(Endpoint::Unix(path.into()));
    };
    reader.wrong(node, wrong, r#"write "unix:/run/tidegate.sock""#);
    None
}

fn server_address(text: &str) -> Option<ServerAddress> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(ServerAddress::Fixed(address.into()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    // "10.0.0.300" is a mistyped address, not a name: no top-level domain is a number.
    let last_label = host.rsplit('.').next()?;
    let is_numeric = last_label.bytes().all(|byte| byte.is_ascii_digit());
    (is_host_name(host) && !is_numeric).then(|| ServerAddress::Name {
        host: host.to_ascii_lowercase().into(),
        port,
    })
}

/// Peers are compared in their IPv4 form where they have one.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let (IpAddr::V4(v4), Some(length)) =
        (v6.addr().to_canonical(), v6.prefix_len().checked_sub(96))
    else {
        return network;
    };
    Ipv4Net::new(v4, length).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_or_names_with_a_port() {
        for text in [
            "10.0.0.1:8080",
            "[::1]:80",
            "app.internal:8080",
            "localhost:1",
            "a_b:65535",
        ] {
            assert!(server_address(text).is_some(), "{text}");
        }
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.300:80",
            "app:0",
            ":80",
            "a b:80",
            "::1:80",
            "app:65536",
        ] {
            assert!(server_address(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_mapped_network_is_an_ipv4_network() {
        let canonical = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(canonical("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(canonical("2001:db8::/32"), "2001:db8::/32");
    }
}
