//! `tidegate echo`: a backend to try things with. WebSocket messages come back as they are; a
//! plain request is answered with its own head.

mod frames;
mod server;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use super::fail;

pub(super) use server::EchoServer;

/// An echo WebSocket and HTTP backend to try things with.
#[derive(clap::Args, Debug)]
pub struct Echo {
    /// The address to listen on; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
}

/// Serves until the process is told to end; prints where.
pub fn run(echo: &Echo) -> ExitCode {
    let server = match EchoServer::bind(echo.listen) {
        Ok(server) => server,
        Err(error) => return fail(&format_args!("can't listen on {}: {error}", echo.listen)),
    };
    // Nobody needs to read it.
    let _ = writeln!(std::io::stdout(), "echo on {}", server.address());
    match server.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
