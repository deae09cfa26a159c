//! Listening sockets that were there before this process: those that the service manager passes
//! (socket activation, sd_listen_fds(3)).

use std::env;
use std::io;

use listenfd::ListenFd;
use socket2::Socket;

use crate::logic::endpoint::Endpoint;

use super::listen::ListenSocket;

/// Sockets to take instead of binding. They stay here too, so that a listener that went finds its
/// own again when it comes back: the service manager never lets go of it.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(String, ListenSocket)>,
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
        let count = passed.len();
        let adopt = |index| {
            let name = names.next().unwrap_or_default();
            match adopt(&mut passed, index) {
                Ok(socket) => Ok((name, socket)),
                Err(source) => Err(Unusable { name, source }),
            }
        };
        let sockets = (0..count).map(adopt).collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// The socket for this address, under a descriptor of its own, where there is one.
    pub fn find(&self, address: &Endpoint) -> Option<io::Result<ListenSocket>> {
        let fits = |(_, socket): &&(String, ListenSocket)| socket.endpoint() == address;
        self.sockets
            .iter()
            .find(fits)
            .map(|(_, socket)| socket.duplicate())
    }

    /// The sockets at other addresses than these, with the names they were passed under.
    pub fn beside<'a>(
        &'a self,
        wanted: &'a [Endpoint],
    ) -> impl Iterator<Item = (&'a str, &'a Endpoint)> {
        let sockets = self.sockets.iter();
        let named = sockets.map(|(name, socket)| (name.as_str(), socket.endpoint()));
        named.filter(|(_, address)| !wanted.contains(address))
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
