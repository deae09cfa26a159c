//! A non-blocking connection, plain or TLS: bytes in, bytes out, what did not fit is kept.

use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use socket2::{Domain, Protocol, Socket, Type};

use super::fault::Fault;

/// Whom to speak TLS with, and how.
#[derive(Clone)]
pub(super) struct TlsClient {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// One buffer at most.
    Once,
    /// Until a read leaves room in the buffer: the socket is empty then, and what comes next will
    /// be told of.
    UntilEmpty,
    /// Until the stream has ended or would block: behind a hang-up nothing will be told of.
    UntilEnd,
}

/// A connection to the target.
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    unsent: Vec<u8>,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(
        to: SocketAddr,
        from: Option<IpAddr>,
        receive_buffer_bytes: Option<usize>,
        tls_client: Option<&TlsClient>,
    ) -> Result<Self, Fault> {
        let socket = bound(to, from, receive_buffer_bytes)?;
        connect(&socket, to)?;
        let tls = tls_client.map(new_connection).transpose()?;
        Ok(Self {
            socket: socket.into(),
            tls,
            unsent: Vec::new(),
        })
    }

    /// Whether the TCP connection has come about, once it is writable.
    pub(super) fn check_connected(&self) -> Result<(), Fault> {
        match self.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(connect_fault(&error)),
        }
    }

    /// Whether the TLS handshake is under way.
    pub(super) fn is_securing(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    pub(super) fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|tls| tls.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// Bytes that wait for the peer to take them.
    pub(super) fn backlog(&self) -> usize {
        self.unsent.len()
    }

    /// Sends the bytes, or keeps them until they can be sent.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        if self.unsent.is_empty() {
            let written = write(&mut self.socket, bytes)?;
            bytes = &bytes[written..];
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what was kept, as far as the peer takes it.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        if !self.unsent.is_empty() {
            let written = write(&mut self.socket, &self.unsent)?;
            self.unsent.drain(..written);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while self.unsent.is_empty() && tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        // rustls does not say how much it holds; what is held here is counted.
        while tls.wants_write() {
            tls.write_tls(&mut self.unsent)?;
        }
        Ok(())
    }

    /// Reads what is there, to the extent given, and returns whether the stream has ended.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        extent: Extent,
        mut tell: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        loop {
            let length = match self.socket.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            match &mut self.tls {
                None => tell(&buffer[..length])?,
                Some(tls) => {
                    decrypt(tls, &buffer[..length], &mut tell)?;
                    self.flush()?;
                }
            }
            match extent {
                Extent::Once => return Ok(false),
                Extent::UntilEmpty if length < buffer.len() => return Ok(false),
                Extent::UntilEmpty | Extent::UntilEnd => {}
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket that comes from this address.
fn bound(
    to: SocketAddr,
    from: Option<IpAddr>,
    receive_buffer_bytes: Option<usize>,
) -> Result<Socket, Fault> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))
        .map_err(|error| connect_fault(&error))?;
    let prepare = || {
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    };
    prepare().map_err(|error| connect_fault(&error))?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into()).map_err(
            |error| match Errno::from_io_error(&error) {
                Some(Errno::ADDRINUSE) => Fault::OutOfPorts,
                _ => Fault::Source,
            },
        )?;
    }
    Ok(socket)
}

fn connect(socket: &Socket, to: SocketAddr) -> Result<(), Fault> {
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
            Err(connect_fault(&error))
        }
        _ => Ok(()),
    }
}

fn connect_fault(error: &io::Error) -> Fault {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Fault::OutOfDescriptors,
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Fault::OutOfPorts,
        _ => Fault::Connect(error.kind()),
    }
}

fn new_connection(tls_client: &TlsClient) -> Result<Box<ClientConnection>, Fault> {
    let TlsClient { config, name } = tls_client;
    let mut tls = ClientConnection::new(Arc::clone(config), name.clone())?;
    // The generator bounds what it sends itself.
    tls.set_buffer_limit(None);
    Ok(Box::new(tls))
}

/// Writes once; a full socket takes nothing.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Fault> {
    match socket.write(bytes) {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn decrypt(
    tls: &mut ClientConnection,
    mut records: &[u8],
    tell: &mut impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !records.is_empty() {
        tls.read_tls(&mut records)?;
        tls.process_new_packets()?;
        let mut plaintext = tls.reader();
        while let Ok(part) = plaintext.fill_buf()
            && !part.is_empty()
        {
            tell(part)?;
            let length = part.len();
            plaintext.consume(length);
        }
    }
    Ok(())
}
