//! Sockets that accept.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::prepare_listener;

/// Connections the kernel may hold for us before we accept them; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// A bound and listening TCP socket, not yet accepted from.
#[derive(Debug)]
pub struct ListenSocket {
    pub(super) socket: Socket,
    address: SocketAddr,
}

impl ListenSocket {
    /// Binds and listens. Port 0 lets the kernel choose; [`Self::address`] says which.
    ///
    /// # Errors
    /// Whatever the kernel says: address in use, no permission, no such interface.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            // "[::]:80" beside "0.0.0.0:80" must not collide.
            socket.set_only_v6(true)?;
        }
        prepare_listener(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let local = socket.local_addr()?.as_socket();
        let address = local.ok_or_else(|| io::Error::other("not an internet address"))?;
        Ok(Self { socket, address })
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            address: self.address,
        })
    }

    /// Where it really listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
