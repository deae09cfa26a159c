//! Listening sockets that were there before this process: passed by the service manager (socket
//! activation, sd_listen_fds(3)) or by the process whose place this one takes.

use std::env;
use std::io;

use listenfd::ListenFd;
use socket2::Socket;

use crate::logic::endpoint::Endpoint;

use super::listen::ListenSocket;

/// Sockets to take instead of binding.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Passed>,
}

#[derive(Debug)]
struct Passed {
    name: String,
    /// What a configuration calls its address.
    bind: String,
    socket: ListenSocket,
}

/// A descriptor that was passed and is no socket to listen on.
#[derive(Debug, thiserror::Error)]
#[error("socket {name:?} of the service manager can't be used: {source}")]
pub struct Unusable {
    name: String,
    source: io::Error,
}

impl Inherited {
    /// What the service manager passed. Called before any thread starts: it takes the variables
    /// that say so out of the environment.
    ///
    /// # Errors
    /// When something was passed that can't be listened on.
    pub fn from_manager() -> Result<Self, Unusable> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            match adopt(&mut passed, index) {
                Ok(socket) => inherited.add(name, socket.endpoint().to_string(), socket),
                Err(source) => return Err(Unusable { name, source }),
            }
        }
        Ok(inherited)
    }

    /// One more socket.
    pub fn add(&mut self, name: String, bind: String, socket: ListenSocket) {
        self.sockets.push(Passed { name, bind, socket });
    }

    /// The socket for this address of this listener, under a descriptor of its own, where there is
    /// one. It stays here too, so that a listener that went finds its own again when it comes back:
    /// a service manager never lets go of it.
    pub fn find(&self, name: &str, address: &Endpoint) -> Option<io::Result<ListenSocket>> {
        let bind = address.to_string();
        // Port 0 says nothing of which socket is meant.
        let is_any_port = matches!(address, Endpoint::Tcp(address) if address.port() == 0);
        let fits = |passed: &&Passed| passed.bind == bind && (!is_any_port || passed.name == name);
        let passed = self.sockets.iter().find(fits)?;
        Some(passed.socket.duplicate())
    }

    /// From now on they are this process's and nobody else's.
    pub fn own(self) {
        for passed in self.sockets {
            passed.socket.own_file(true);
        }
    }

    /// The sockets at other addresses than these, with the names they were passed under.
    pub fn beside(&self, taken: &[Endpoint]) -> impl Iterator<Item = (&str, &Endpoint)> {
        let sockets = self.sockets.iter();
        sockets
            .map(|passed| (passed.name.as_str(), passed.socket.endpoint()))
            .filter(|(_, address)| !taken.contains(address))
    }
}

fn adopt(passed: &mut ListenFd, index: usize) -> io::Result<ListenSocket> {
    let taken_twice = || io::Error::from(io::ErrorKind::NotFound);
    // What is no TCP socket stays in its place, and may be a unix one.
    let socket = match passed.take_tcp_listener(index) {
        Ok(tcp) => tcp.map(Socket::from),
        Err(_) => passed.take_unix_listener(index)?.map(Socket::from),
    };
    ListenSocket::adopt(socket.ok_or_else(taken_twice)?)
}
