//! `tidegate demo`: the whole thing on loopback with no file.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;

use crate::app::{self, Addresses};
use crate::control::reload::Source;

use super::echo::EchoServer;
use super::fail;

/// Embedded echo backends.
const BACKENDS: usize = 3;

/// Everything on loopback with no file: three embedded echo backends and the proxy in front of
/// them. Ctrl-C stops it.
#[derive(clap::Args, Debug)]
pub struct Demo {
    /// Where the proxy listens; another free port when this one is taken.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the dashboard, metrics and health are served; another free port when this one is taken.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
}

/// Runs until Ctrl-C.
pub fn run(demo: &Demo) -> ExitCode {
    let backends = match start_backends() {
        Ok(backends) => backends,
        Err(error) => return fail(&format_args!("echo backend: {error}")),
    };
    let config = configuration(free(demo.listen), free(demo.admin), &backends);
    let started = |addresses: Addresses| {
        // The demo runs on without a reader.
        let _ = announce(&addresses, &backends);
    };
    match app::run(Source::Embedded(config), started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn start_backends() -> io::Result<Vec<SocketAddr>> {
    (0..BACKENDS)
        .map(|index| {
            let server = EchoServer::bind((Ipv4Addr::LOCALHOST, 0).into())?;
            let address = server.address();
            thread::Builder::new()
                .name(format!("echo-{index}"))
                .spawn(|| server.run())?;
            Ok(address)
        })
        .collect()
}

/// The address, or the same with any port when it is taken.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    }
}

fn configuration(listen: SocketAddr, admin: SocketAddr, backends: &[SocketAddr]) -> String {
    let servers: Vec<_> = backends
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    let servers = servers.join(", ");
    format!(
        r#"
[server]
shutdown_grace = "2s"

[admin]
bind = "{admin}"

[listener.demo]
bind = "{listen}"

[[route]]
name = "demo"
upstream = "echo"

[upstream.echo]
servers = [{servers}]

[upstream.echo.health_check]
type = "websocket"
path = "/"
"#
    )
}

fn announce(addresses: &Addresses, backends: &[SocketAddr]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (_, address) in &addresses.listeners {
        writeln!(out, "proxy       ws://{address}/")?;
    }
    for address in backends {
        writeln!(out, "backend     ws://{address}/")?;
    }
    if let Some(admin) = &addresses.admin {
        writeln!(out, "dashboard   http://{admin}/")?;
        writeln!(out, "metrics     http://{admin}/metrics")?;
        writeln!(out, "readiness   http://{admin}/readyz")?;
    }
    let target = addresses
        .listeners
        .first()
        .map(|(_, address)| address.to_string());
    let target = target.unwrap_or_default();
    writeln!(out, "\nTry it:      python3 -m websockets ws://{target}/")?;
    if let Some(admin) = &addresses.admin {
        writeln!(out, "             tidegate status --admin http://{admin}")?;
    }
    writeln!(out, "Ctrl-C here stops the demo.")
}
