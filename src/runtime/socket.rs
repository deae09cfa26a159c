//! Socket options of both legs, in one place.

use std::io;
use std::net::SocketAddr;

use socket2::{SockRef, Socket};
use tokio::net::{TcpSocket, TcpStream};

/// Most bytes that a socket takes before they are on their way. What is on its way is the
/// congestion window's to decide, so a long fat link stays full; what only waits would be held a
/// second time, megabytes of it, for a peer that does not read.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;

/// Sets what the sockets accepted from this one inherit, so that it costs nothing per connection.
///
/// # Errors
/// When the kernel does not know an option.
pub fn prepare_listener(socket: &Socket) -> io::Result<()> {
    prepare(SockRef::from(socket))
}

/// Takes an accepted socket into the worker's runtime.
///
/// # Errors
/// When the peer is gone already.
pub fn adopt(
    socket: std::net::TcpStream,
    receive_buffer_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    if let Some(bytes) = receive_buffer_bytes {
        bound_receive_buffer(SockRef::from(&socket), bytes)?;
    }
    TcpStream::from_std(socket)
}

/// Connects to a server.
///
/// # Errors
/// Whatever the kernel says, of this machine or of the server.
pub async fn connect(
    address: SocketAddr,
    receive_buffer_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = receive_buffer_bytes {
        // Before the connect: it decides the window that the handshake announces.
        bound_receive_buffer(SockRef::from(&socket), bytes)?;
    }
    let stream = socket.connect(address).await?;
    prepare(SockRef::from(&stream))?;
    Ok(stream)
}

/// Bounds what the kernel holds for us to read, its own overhead included.
fn bound_receive_buffer(socket: SockRef<'_>, bytes: usize) -> io::Result<()> {
    // socket(7): the kernel doubles what it is told.
    socket.set_recv_buffer_size(bytes / 2)
}

fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES)
}
