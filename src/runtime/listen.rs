//! Sockets that accept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::prepare_listener;

/// Connections the kernel may hold for us before we accept them; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// A bound and listening TCP socket, not yet accepted from.
#[derive(Clone, Debug)]
pub struct ListenSocket {
    pub(super) socket: Arc<Socket>,
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
        if address.is_ipv6() {
            // "[::]:80" beside "0.0.0.0:80" must not collide.
            socket.set_only_v6(true)?;
        }
        prepare_listener(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::of(socket)
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// When it does not.
    pub fn adopt(socket: Socket) -> io::Result<Self> {
        if !socket.is_listener()? {
            return Err(io::Error::other("it does not listen"));
        }
        prepare_listener(&socket)?;
        Self::of(socket)
    }

    fn of(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?.as_socket();
        let address = local.ok_or_else(|| io::Error::other("not an internet address"))?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
        })
    }

    /// The same socket under a descriptor of its own, which a runtime can watch beside this one.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self {
            socket: Arc::new(self.socket.try_clone()?),
            address: self.address,
        })
    }

    /// Where it really listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
