//! Socket options of both legs, in one place.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{SockRef, Socket};

/// Most bytes that a socket takes before they are on their way. What is on its way is the
/// congestion window's to decide, so a long fat link stays full; what only waits would be held a
/// second time, megabytes of it, for a peer that does not read.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;

/// Sets what the TCP sockets accepted from this one inherit, so that it costs nothing per
/// connection.
///
/// # Errors
/// When the kernel does not know an option.
pub fn prepare_listener(socket: &Socket) -> io::Result<()> {
    prepare(SockRef::from(socket))
}

/// Bounds what the kernel holds for us to read, its own overhead included.
pub(super) fn bound_receive_buffer(socket: SockRef<'_>, bytes: usize) -> io::Result<()> {
    // socket(7): the kernel doubles what it is told.
    socket.set_recv_buffer_size(bytes / 2)
}

/// Leaves the port of an address that is bound to be found at the connect: one port of ours then
/// serves every server once, instead of one of them alone (`IP_BIND_ADDRESS_NO_PORT` of ip(7)).
pub(super) fn share_ports(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, IpBindAddressNoPort, &true).map_err(io::Error::from)
}

pub(super) fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn an_address_that_is_bound_takes_no_port_before_the_connect() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        share_ports(&socket).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&address.into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(address));
    }
}
