//! A connected socket in a worker's runtime: TCP, or a unix socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::sleep;

use crate::logic::endpoint::Endpoint;

use super::options::{bound_receive_buffer, prepare, share_ports};

/// How long a connect rests while the backlog of a unix socket is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// A connection, without what may be spoken over it.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// How a peer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// With the end of its stream.
    Ended,
    /// With a reset.
    Reset,
}

/// A connection that was accepted and belongs to no runtime yet.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(OwnedFd),
    /// Over a unix socket.
    Unix(OwnedFd),
}

impl Accepted {
    /// Reads what is there already.
    ///
    /// # Errors
    /// When nothing is.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let (Self::Tcp(fd) | Self::Unix(fd)) = self;
        let (received, _) = recv(fd, into, RecvFlags::DONTWAIT)?;
        Ok(received)
    }
}

impl Socket {
    /// Takes an accepted socket into the worker's runtime. The receive buffer is TCP's alone: a
    /// unix socket's bytes wait in the buffer of their sender.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub fn adopt(accepted: Accepted, receive_buffer_bytes: Option<usize>) -> io::Result<Self> {
        match accepted {
            Accepted::Tcp(fd) => {
                if let Some(bytes) = receive_buffer_bytes {
                    bound_receive_buffer(SockRef::from(&fd), bytes)?;
                }
                TcpStream::from_std(fd.into()).map(Self::Tcp)
            }
            Accepted::Unix(fd) => UnixStream::from_std(fd.into()).map(Self::Unix),
        }
    }

    /// Connects to a server, from this address of ours where there is one; as above, source and
    /// receive buffer are TCP's alone.
    ///
    /// # Errors
    /// Whatever the kernel says, of this machine or of the server.
    pub async fn connect(
        endpoint: &Endpoint,
        source: Option<IpAddr>,
        receive_buffer_bytes: Option<usize>,
    ) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => connect_tcp(*address, source, receive_buffer_bytes)
                .await
                .map(Self::Tcp),
            Endpoint::Unix(path) => connect_unix(path).await.map(Self::Unix),
        }
    }

    /// Resolves when there is something to read.
    ///
    /// # Errors
    /// When the socket can't be waited for.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.readable().await,
            Self::Unix(unix) => unix.readable().await,
        }
    }

    /// Resolves when the peer has reset the connection; unix sockets know no reset.
    pub async fn reset(&self) {
        // An error of the wait itself is as final.
        let _ = match self {
            Self::Tcp(tcp) => tcp.ready(Interest::ERROR).await,
            Self::Unix(unix) => unix.ready(Interest::ERROR).await,
        };
    }

    /// How the peer has left, as far as it shows without reading what it sent before.
    pub fn departure(&self) -> Option<Departure> {
        let mut now = Context::from_waker(Waker::noop());
        let either = Interest::READABLE | Interest::ERROR;
        let ready = match self {
            Self::Tcp(tcp) => pin!(tcp.ready(either)).poll(&mut now),
            Self::Unix(unix) => pin!(unix.ready(either)).poll(&mut now),
        };
        match ready {
            Poll::Ready(Ok(ready)) if ready.is_error() => Some(Departure::Reset),
            Poll::Ready(Ok(ready)) if ready.is_read_closed() => Some(Departure::Ended),
            _ => None,
        }
    }

    /// Closes the connection so that the peer sees a reset instead of an orderly end.
    pub fn abort(&self) {
        if let Self::Tcp(tcp) = self {
            // A socket that is gone already needs no reset.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Whether a connect failed for want of descriptors, ports or memory of ours.
pub fn is_our_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let ours = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    errno.is_some_and(|errno| ours.contains(&errno))
}

async fn connect_tcp(
    address: SocketAddr,
    source: Option<IpAddr>,
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
    if let Some(source) = source {
        share_ports(&socket)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    prepare(SockRef::from(&stream))?;
    Ok(stream)
}

/// Connects as TCP would: a full backlog is waited for, not an error. The caller's time bounds it.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BACKLOG_PAUSE).await,
            outcome => return outcome,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}
