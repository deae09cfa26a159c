//! Back from the model to what is written, for what shows a configuration.

use std::sync::Arc;

use super::{
    AdminSection, Auth, Demand, Jwt, Listener, Pair, Redirect, Route, ServerEntry, Tls, Upstream,
    UpstreamTls,
};
use crate::config::kind::Placed;
use crate::config::model::{self, Admin, Certificate, ClientAuth, KeyFile, Passive, ServerSpec};
use crate::config::source::Place;

impl From<&Admin> for AdminSection {
    fn from(admin: &Admin) -> Self {
        Self {
            bind: admin.bind.clone().map(Placed::from),
            token_file: admin.token_file.clone(),
        }
    }
}

impl From<&model::Listener> for Listener {
    fn from(listener: &model::Listener) -> Self {
        Self {
            bind: listener.bind.iter().cloned().map(Placed::from).collect(),
            socket_mode: listener.socket_mode,
            proxy_protocol: listener.proxy_protocol,
            trusted_proxies: listener.trusted_proxies.clone(),
            header_timeout: listener.header_timeout,
            max_header_bytes: listener.max_header_bytes,
            max_headers: listener.max_headers,
            keepalive_timeout: listener.keepalive_timeout,
            receive_buffer_bytes: listener.receive_buffer_bytes,
            tls: listener.tls.as_ref().map(Tls::from),
        }
    }
}

impl From<&model::Tls> for Tls {
    fn from(tls: &model::Tls) -> Self {
        let (client_auth, client_ca) = match &tls.client_auth {
            ClientAuth::Off => (Demand::Off, None),
            ClientAuth::Optional { ca } => (Demand::Optional, Some(ca.clone())),
            ClientAuth::Require { ca } => (Demand::Require, Some(ca.clone())),
        };
        Self {
            place: Place::default(),
            certificates: tls.certificates.iter().map(Pair::from).collect(),
            min_version: tls.min_version,
            handshake_timeout: tls.handshake_timeout,
            client_auth,
            client_ca,
            client_crl: tls.client_crl.clone(),
        }
    }
}

impl From<&Certificate> for Pair {
    fn from(certificate: &Certificate) -> Self {
        Self {
            cert: Some(certificate.cert.clone()),
            key: Some(certificate.key.clone()),
        }
    }
}

impl From<&model::Route> for Route {
    fn from(route: &model::Route) -> Self {
        let mut raw = Self {
            name: Some(Arc::clone(&route.name)),
            listeners: route.listeners.iter().cloned().map(Placed::from).collect(),
            hosts: route.hosts.clone(),
            path: route.path.clone(),
            accept: route.accept,
            rewrite: route.rewrite.clone().map(Placed::from),
            handshake: route.handshake,
            access: route.access.clone(),
            auth: Auth {
                jwt: route.jwt.as_ref().map(Jwt::from),
            },
            limit: route.limit.clone(),
            websocket: Arc::clone(&route.websocket),
            http: route.http.clone(),
            headers: route.headers.clone(),
            ..Self::default()
        };
        match &route.action {
            model::Action::Proxy { upstream } => raw.upstream = Some(Arc::clone(upstream).into()),
            model::Action::Respond { status } => raw.respond = Some((*status).into()),
            model::Action::RedirectHttps => raw.redirect = Some(Redirect::Https.into()),
        }
        raw
    }
}

impl From<&model::Jwt> for Jwt {
    fn from(jwt: &model::Jwt) -> Self {
        let (key_file, secret_file) = match jwt.key.clone() {
            KeyFile::Public(path) => (Some(path), None),
            KeyFile::Secret(path) => (None, Some(path)),
        };
        let terms = &jwt.terms;
        Self {
            from: terms.from.clone(),
            algorithms: terms.algorithms.clone(),
            key_file,
            secret_file,
            jwks_url: None,
            issuer: terms.issuer.clone(),
            audience: terms.audience.clone(),
            user_claim: Arc::clone(&terms.user_claim),
            close_at_expiry: terms.close_at_expiry,
        }
    }
}

impl From<&model::Upstream> for Upstream {
    fn from(upstream: &model::Upstream) -> Self {
        Self {
            balance: upstream.balance,
            servers: upstream
                .servers
                .iter()
                .map(|server| Placed::from(ServerEntry::from(server)))
                .collect(),
            connect_timeout: upstream.connect_timeout,
            handshake_timeout: upstream.handshake_timeout,
            retries: upstream.retries,
            max_handshakes: upstream.max_handshakes,
            queue_length: upstream.queue_length,
            queue_timeout: upstream.queue_timeout,
            on_server_down: upstream.on_server_down,
            on_server_removed: upstream.on_server_removed,
            drain: upstream.drain,
            slow_start: upstream.slow_start,
            keepalive: upstream.keepalive,
            resolve: upstream.resolve,
            source: upstream.source.clone(),
            receive_buffer_bytes: upstream.receive_buffer_bytes,
            tls: upstream.tls.as_ref().map(UpstreamTls::from),
            proxy_protocol: upstream.proxy_protocol,
            health_check: upstream.health_check.clone(),
            passive: upstream.passive.unwrap_or_else(no_ejection),
        }
    }
}

fn no_ejection() -> Passive {
    Passive {
        failures: 0,
        ..Passive::default()
    }
}

impl From<&ServerSpec> for ServerEntry {
    fn from(server: &ServerSpec) -> Self {
        Self {
            address: Some(server.address.clone()),
            weight: server.weight,
            backup: server.backup,
            max_connections: server.max_connections,
        }
    }
}

impl From<&model::UpstreamTls> for UpstreamTls {
    fn from(tls: &model::UpstreamTls) -> Self {
        let pair = tls.client_certificate.as_ref();
        Self {
            server_name: tls.server_name.clone(),
            ca: tls.ca.clone(),
            client_cert: pair.map(|pair| pair.cert.clone()),
            client_key: pair.map(|pair| pair.key.clone()),
            insecure: tls.insecure,
        }
    }
}
