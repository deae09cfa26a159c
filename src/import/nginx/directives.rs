//! Every directive's fate: read here, needless here, or not to be had here.

use super::read::Directive;
use crate::import::finding::Findings;

/// What becomes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Another file of this folder reads it where it stands.
    Carried,
    /// It says what goes without saying here, or tunes what is not here.
    Needless,
    /// It can't be said here; this is what to do.
    Lost(&'static str),
}

/// Tells of every directive of a block that nothing else will tell of.
pub fn tell(block: &[Directive], findings: &mut Findings) {
    for directive in block {
        if let Fate::Lost(advice) = fate(directive) {
            findings.lost(&directive.place, directive.text(), advice);
        }
    }
}

fn fate(directive: &Directive) -> Fate {
    let name = directive.name.as_str();
    if CARRIED.contains(&name) {
        return Fate::Carried;
    }
    let is_off = directive.arg(0) == "off";
    if is_off
        || NEEDLESS.contains(&name)
        || NEEDLESS_FAMILIES
            .iter()
            .any(|family| name.starts_with(family))
    {
        return Fate::Needless;
    }
    let known = LOST
        .iter()
        .find(|(names, _)| names.iter().any(|known| fits(known, name)));
    Fate::Lost(known.map_or(UNKNOWN, |(_, advice)| advice))
}

/// A name, or a family of names that ends in `*`.
fn fits(known: &str, name: &str) -> bool {
    known
        .strip_suffix('*')
        .map_or(known == name, |family| name.starts_with(family))
}

const UNKNOWN: &str = "no counterpart; see docs/configuration.md for what there is";

const CARRIED: [&str; 60] = [
    "allow",
    "client_body_timeout",
    "client_header_timeout",
    "client_max_body_size",
    "deny",
    "events",
    "hash",
    "http",
    "if",
    "internal",
    "ip_hash",
    "keepalive",
    "keepalive_timeout",
    "large_client_header_buffers",
    "least_conn",
    "limit_conn",
    "limit_conn_zone",
    "limit_req",
    "limit_req_zone",
    "listen",
    "location",
    "map",
    "proxy_bind",
    "proxy_connect_timeout",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_pass",
    "proxy_protocol",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "proxy_set_header",
    "proxy_ssl_certificate",
    "proxy_ssl_certificate_key",
    "proxy_ssl_name",
    "proxy_ssl_server_name",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
    "random",
    "real_ip_header",
    "return",
    "rewrite",
    "send_timeout",
    "server",
    "server_name",
    "set_real_ip_from",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_crl",
    "ssl_handshake_timeout",
    "ssl_protocols",
    "ssl_trusted_certificate",
    "ssl_verify_client",
    "sticky",
    "stream",
    "upstream",
    "worker_processes",
    "worker_shutdown_timeout",
    "zone",
];

const NEEDLESS: [&str; 62] = [
    "access_log",
    "absolute_redirect",
    "accept_mutex",
    "aio",
    "charset",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_temp_path",
    "client_header_buffer_size",
    "daemon",
    "default_type",
    "directio",
    "env",
    "error_log",
    "etag",
    "http2_max_concurrent_streams",
    "ignore_invalid_headers",
    "keepalive_disable",
    "keepalive_requests",
    "keepalive_time",
    "limit_conn_log_level",
    "limit_req_log_level",
    "load_module",
    "log_format",
    "log_not_found",
    "log_subrequest",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "master_process",
    "merge_slashes",
    "multi_accept",
    "open_file_cache",
    "pcre_jit",
    "pid",
    "port_in_redirect",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_cache_bypass",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_http_version",
    "proxy_max_temp_file_size",
    "proxy_no_cache",
    "proxy_redirect",
    "proxy_request_buffering",
    "proxy_socket_keepalive",
    "proxy_temp_path",
    "real_ip_recursive",
    "reset_timedout_connection",
    "resolver",
    "resolver_timeout",
    "satisfy",
    "sendfile",
    "server_name_in_redirect",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "types",
    "underscores_in_headers",
    "use",
];

const NEEDLESS_FAMILIES: [&str; 12] = [
    "open_file_cache_",
    "postpone_output",
    "ssl_buffer_size",
    "ssl_ciphers",
    "ssl_conf_command",
    "ssl_dhparam",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_session_",
    "ssl_verify_depth",
    "tcp_no",
    "worker_",
];

const LOST: [(&[&str], &str); 16] = [
    (
        &[
            "root",
            "alias",
            "index",
            "try_files",
            "autoindex*",
            "expires",
        ],
        "files are not served; put a file server behind an upstream of its own",
    ),
    (
        &["gzip*", "brotli*", "gunzip"],
        "responses are passed as they come; compress in the backend",
    ),
    (
        &[
            "add_header",
            "more_set_headers",
            "proxy_hide_header",
            "proxy_pass_header",
        ],
        "fields of responses are not changed; set them in the backend",
    ),
    (
        &["limit_except"],
        "a route does not look at the method; let the backend refuse those that are not meant",
    ),
    (
        &["auth_basic*", "auth_request*", "auth_jwt*"],
        "let the backend ask, or use [route.auth.jwt]",
    ),
    (
        &["proxy_cache*", "proxy_store*"],
        "nothing is cached; cache in the backend or in front",
    ),
    (
        &[
            "error_page",
            "proxy_intercept_errors",
            "recursive_error_pages",
        ],
        "the proxy's own answers are one line of text, the backend's pass as they are",
    ),
    (
        &["http2", "http3", "quic*"],
        "clients are served over HTTP/1.1; they fall back to it by themselves",
    ),
    (
        &["ssl_stapling*", "ssl_ocsp*"],
        "responses of certificate authorities are not stapled",
    ),
    (
        &["grpc_*", "fastcgi_*", "uwsgi_*", "scgi_*", "memcached_*"],
        "servers are spoken to in HTTP/1.1 and WebSocket alone",
    ),
    (
        &[
            "set",
            "break",
            "split_clients",
            "geo",
            "js_*",
            "perl*",
            "lua_*",
            "geoip*",
        ],
        "there are no variables; say it with routes",
    ),
    (
        &[
            "content_by_lua*",
            "access_by_lua*",
            "rewrite_by_lua*",
            "header_filter_by_lua*",
        ],
        "there is no scripting; do it in the backend",
    ),
    (
        &["limit_rate*", "limit_conn_status", "limit_req_status"],
        "a client over its limit gets 429; rates of a session are in [route.websocket]",
    ),
    (
        &[
            "proxy_method",
            "proxy_set_body",
            "proxy_pass_request_*",
            "proxy_cookie_*",
        ],
        "requests go on as they came",
    ),
    (
        &[
            "mirror*",
            "sub_filter*",
            "addition_types",
            "add_before_body",
            "add_after_body",
        ],
        "bodies pass as they are",
    ),
    (
        &["stub_status", "status_zone", "api"],
        "figures are at the admin address: /metrics and /api/v1/status",
    ),
];
