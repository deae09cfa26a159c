//! The data plane: a connection passes one file per step, on one worker, from accept to end.

pub mod access_log;
pub mod accounting;
pub mod attempt;
pub mod client_tls;
pub mod connection;
pub mod dial;
pub mod exchange;
pub mod hyper_types;
pub mod plain;
pub mod plain_attempt;
pub mod pool;
pub mod proxy_protocol;
pub mod read_buffer;
pub mod rejected_upgrade;
pub mod relay;
pub mod request_body;
pub mod response_writer;
pub mod routed_request;
pub mod scratch;
pub mod server_connection;
pub mod stream;
pub mod tail;
pub mod trace;
pub mod upgrade;
pub mod upgrade_attempt;
pub mod upload;
