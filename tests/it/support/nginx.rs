//! nginx as a server behind the proxy: it tells each request that it took.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::program::Program;
use super::wait::wait_until;

/// A running nginx; killed when dropped.
pub struct Nginx {
    /// The program itself.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    _reserved: Socket,
    _directory: TempDir,
}

impl Nginx {
    /// Starts it with these lines in its `server`.
    pub fn with(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let reserved = reserve();
        let address = reserved.local_addr().unwrap().as_socket().unwrap();
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, configuration(address, lines)).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(&path);
        let program = Program::start(command.args(["-e", "stderr"]));
        wait_until("nginx to listen", || TcpStream::connect(address).is_ok());
        Self {
            program,
            address,
            _reserved: reserved,
            _directory: directory,
        }
    }
}

impl fmt::Display for Nginx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A port that is ours and that nginx, which tells nobody which one it got, can share.
fn reserve() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&loopback.into()).unwrap();
    socket
}

fn configuration(address: SocketAddr, lines: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {what};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{temporary}\
         \x20   log_format told escape=json '{{\"event\": \"request\", \"method\": \"$request_method\", \
         \"target\": \"$request_uri\", \"status\": \"$status\"}}';\n\
         \x20   access_log /dev/stdout told;\n\
         \x20   server {{\n        listen {address} reuseport;\n        {lines}\n    }}\n}}\n"
    )
}
