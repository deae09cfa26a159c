//! TLS towards a client. Records are opened and sealed in the worker's buffers, so that an idle
//! session holds none; what a read or a write leaves over is kept, bounded, until the next one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::parked::Parked;
use super::scratch;

/// Most bytes of records that may wait for the rest of a handshake message.
const MAX_HANDSHAKE_BYTES: usize = 64 * 1024;
/// Read in one go during the handshake, and at least that much later.
const MIN_READ_BYTES: usize = 4096;
/// Most bytes sealed in one go; the records fit the worker's buffer with room for a few of rustls' own.
const SEAL_BYTES: usize = 64 * 1024 + 64;

/// A client's byte stream over TLS.
pub struct TlsStream {
    tcp: TcpStream,
    session: UnbufferedServerConnection,
    /// Records that came in and are not opened yet: mostly a part of one, mostly none.
    sealed: Vec<u8>,
    /// Whether there may be a whole one among them.
    sealed_is_whole: bool,
    close_sent: bool,
    rest: Rest,
}

/// What came out of a session and has not gone where it goes.
#[derive(Debug, Default)]
struct Rest {
    /// Opened, and more than the reader had room for.
    opened: Parked,
    /// Records that the socket did not take.
    unsent: Parked,
    /// The client has said that nothing follows.
    ended: bool,
}

impl TlsStream {
    /// Shakes hands.
    ///
    /// # Errors
    /// `InvalidData` with the [`rustls::Error`] when the client breaks the protocol or is refused;
    /// else what happened to the connection.
    pub async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = Self {
            tcp,
            session,
            sealed: Vec::new(),
            sealed_is_whole: false,
            close_sent: false,
            rest: Rest::default(),
        };
        loop {
            stream.open_sealed(&mut ReadBuf::new(&mut []))?;
            stream.flush().await?;
            if !stream.session.is_handshaking() {
                return Ok(stream);
            }
            if stream.sealed.len() > MAX_HANDSHAKE_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            stream.sealed.reserve(MIN_READ_BYTES);
            if stream.rest.ended || stream.tcp.read_buf(&mut stream.sealed).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The connection below.
    pub const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What was agreed.
    pub const fn session(&self) -> &UnbufferedServerConnection {
        &self.session
    }

    /// Opens what waits in `sealed`.
    fn open_sealed(&mut self, out: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut sealed = std::mem::take(&mut self.sealed);
        let done = self.open(&mut sealed, out)?;
        self.keep(sealed, done);
        Ok(())
    }

    /// Keeps what is not opened yet; nothing left frees the memory.
    fn keep(&mut self, mut sealed: Vec<u8>, done: usize) {
        if done < sealed.len() {
            sealed.drain(..done);
            self.sealed = sealed;
        }
    }

    /// Opens the records of `sealed`, for as long as `out` takes what is in them, and says how many
    /// of its bytes are done with.
    fn open(&mut self, sealed: &mut [u8], out: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut done = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.session.process_tls_records(&mut sealed[done..]);
            done += discard;
            let goes_on = match state {
                Ok(state) => self.rest.take(state, out)?,
                Err(error) => {
                    self.alert(&mut sealed[done..]);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            };
            self.sealed_is_whole = goes_on && !self.rest.opened.is_empty();
            if !goes_on || self.sealed_is_whole {
                return Ok(done);
            }
        }
    }

    /// Tells the client what it did wrong, where the socket takes it.
    fn alert(&mut self, sealed: &mut [u8]) {
        let UnbufferedStatus { state, .. } = self.session.process_tls_records(sealed);
        if let Ok(state @ ConnectionState::EncodeTlsData(_)) = state
            && self.rest.take(state, &mut ReadBuf::new(&mut [])).is_ok()
        {
            // The connection has failed; that this may fail too changes nothing.
            let _ = self.tcp.try_write(self.rest.unsent.rest());
        }
    }

    /// Seals `plain`, or the notice that nothing follows; returns the records' length in `out`.
    fn seal(&mut self, plain: Option<&[u8]>, out: &mut [u8]) -> io::Result<usize> {
        let mut sealed = std::mem::take(&mut self.sealed);
        let mut done = 0;
        let length = loop {
            // What has come in goes first: the session has no other entrance.
            let UnbufferedStatus { discard, state } =
                self.session.process_tls_records(&mut sealed[done..]);
            done += discard;
            match state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    break match plain {
                        Some(plain) => traffic.encrypt(plain, out),
                        None => traffic.queue_close_notify(out),
                    };
                }
                ConnectionState::Closed => return Err(io::ErrorKind::NotConnected.into()),
                state => self
                    .rest
                    .take(state, &mut ReadBuf::new(&mut []))
                    .map(drop)?,
            }
        };
        self.keep(sealed, done);
        length.map_err(io::Error::other)
    }

    /// Sends records, and keeps those that the socket does not take.
    fn send(&mut self, records: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        let mut sent = 0;
        // A change of keys may be waiting; what it changes must not overtake it.
        if self.poll_unsent(cx)?.is_ready()
            && let Poll::Ready(taken) = Pin::new(&mut self.tcp).poll_write(cx, records)?
        {
            sent = taken;
        }
        self.rest.unsent.push(&records[sent..]);
        Ok(())
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unsent = &mut self.rest.unsent;
        while !unsent.is_empty() {
            match ready!(Pin::new(&mut self.tcp).poll_write(cx, unsent.rest()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => unsent.take(sent),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads records from the socket and opens them.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        scratch::with_incoming(|records| {
            let held = self.sealed.len();
            // No more than there is room for when opened.
            let most = out.remaining().saturating_sub(held).max(MIN_READ_BYTES);
            let end = records.len().min(held + most);
            let mut read = ReadBuf::new(&mut records[held..end]);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
            let end = held + read.filled().len();
            if end == held {
                // RFC 8446 section 6.1: the end of TCP alone is not the end of the data.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            records[..held].copy_from_slice(&self.sealed);
            let done = self.open(&mut records[..end], out)?;
            self.sealed = records[done..end].to_vec();
            Poll::Ready(Ok(()))
        })
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = out.remaining();
        loop {
            this.rest.pour(out);
            if this.sealed_is_whole && out.remaining() == room {
                this.open_sealed(out)?;
            }
            if out.remaining() < room || room == 0 || this.rest.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_receive(cx, out))?;
            // What the session answers by itself; if it has to wait, the socket wakes us.
            let _: Poll<()> = this.poll_unsent(cx)?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        plain: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        let piece = &plain[..plain.len().min(SEAL_BYTES)];
        scratch::with_outgoing(|records| {
            let length = this.seal(Some(piece), records)?;
            this.send(&records[..length], cx)?;
            Poll::Ready(Ok(piece.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_unsent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.close_sent {
            this.close_sent = true;
            scratch::with_outgoing(|records| {
                let length = this.seal(None, records)?;
                this.send(&records[..length], cx)
            })?;
        }
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

impl Rest {
    /// Gives the reader what was opened before.
    fn pour(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.opened.len().min(out.remaining());
        out.put_slice(&self.opened.rest()[..count]);
        self.opened.take(count);
    }

    /// Takes what a session has to give; false when it has no more for now.
    fn take(
        &mut self,
        state: ConnectionState<'_, '_, ServerConnectionData>,
        out: &mut ReadBuf<'_>,
    ) -> io::Result<bool> {
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let payload = record.map_err(io::Error::other)?.payload;
                    let (fits, rest) = payload.split_at(payload.len().min(out.remaining()));
                    out.put_slice(fits);
                    self.opened.push(rest);
                }
            }
            ConnectionState::EncodeTlsData(mut records) => {
                let mut bytes = Vec::new();
                while let Err(EncodeError::InsufficientSize(short)) = records.encode(&mut bytes) {
                    bytes.resize(short.required_size, 0);
                }
                self.unsent.push(&bytes);
            }
            ConnectionState::TransmitTlsData(transmit) => transmit.done(),
            ConnectionState::PeerClosed | ConnectionState::Closed => {
                self.ended = true;
                return Ok(false);
            }
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => {
                return Ok(false);
            }
            // Early data is not offered.
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::thread::{self, JoinHandle};

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    };

    use super::*;

    type Socket = std::net::TcpStream;
    type Client = StreamOwned<ClientConnection, Socket>;

    /// Lets a client and a server meet, each on its own thread.
    fn meet<C: Send + 'static, S>(
        client: impl FnOnce(Socket) -> C + Send + 'static,
        server: impl AsyncFnOnce(TcpStream) -> S,
    ) -> (C, S) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client: JoinHandle<C> =
            thread::spawn(move || client(Socket::connect(address).unwrap()));
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let served = runtime.block_on(async { server(TcpStream::from_std(socket).unwrap()).await });
        (client.join().unwrap(), served)
    }

    fn configs(version: &'static SupportedProtocolVersion) -> (ClientConfig, Arc<ServerConfig>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (client, Arc::new(server))
    }

    fn shake(config: ClientConfig, socket: Socket) -> Client {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(
            ClientConnection::new(Arc::new(config), name).unwrap(),
            socket,
        )
    }

    fn pattern(bytes: u32) -> Vec<u8> {
        (0..bytes).map(|n| (n % 251).to_le_bytes()[0]).collect()
    }

    /// Sends back what comes, read in pieces of these sizes in turn, until the client's end.
    async fn echo(stream: &mut TlsStream, rooms: &[usize]) -> io::Result<()> {
        for &room in rooms.iter().cycle() {
            let mut piece = vec![0; room];
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                stream.shutdown().await?;
                return Ok(());
            }
            stream.write_all(&piece[..read]).await?;
            stream.flush().await?;
        }
        Ok(())
    }

    #[test]
    fn bytes_come_through_whatever_the_reader_has_room_for() {
        for (version, rooms) in [
            (&TLS13, &[1, 7, 100_000][..]),
            (&TLS12, &[65_550]),
            (&TLS13, &[300_000]),
        ] {
            let (config, server) = configs(version);
            let (echoed, held) = meet(
                move |socket| {
                    let mut client = shake(config, socket);
                    for part in pattern(60_000).chunks(17_000) {
                        client.write_all(part).unwrap();
                    }
                    client.conn.send_close_notify();
                    client.flush().unwrap();
                    let mut echoed = vec![];
                    client.read_to_end(&mut echoed).unwrap();
                    echoed
                },
                async |tcp| {
                    let mut stream = TlsStream::accept(server, tcp).await.unwrap();
                    echo(&mut stream, rooms).await.unwrap();
                    (stream.sealed.capacity(), stream.rest.opened.len())
                },
            );
            assert!(echoed == pattern(60_000), "{rooms:?}");
            assert_eq!(held, (0, 0), "an idle stream holds nothing");
        }
    }

    #[test]
    fn keys_change_under_way() {
        let (config, server) = configs(&TLS13);
        let (answers, ()) = meet(
            move |socket| {
                let mut client = shake(config, socket);
                let mut answers = vec![];
                for word in [b"one", b"two", b"six"] {
                    client.write_all(word).unwrap();
                    let mut answer = [0; 3];
                    client.read_exact(&mut answer).unwrap();
                    answers.extend_from_slice(&answer);
                    client.conn.refresh_traffic_keys().unwrap();
                }
                client.conn.send_close_notify();
                client.flush().unwrap();
                answers
            },
            async |tcp| {
                let mut stream = TlsStream::accept(server, tcp).await.unwrap();
                echo(&mut stream, &[100]).await.unwrap();
            },
        );
        assert_eq!(answers, b"onetwosix");
    }

    #[test]
    fn a_client_that_does_not_read_is_written_a_bounded_amount() {
        let (config, server) = configs(&TLS13);
        let (received, most) = meet(
            move |socket| {
                let mut client = shake(config, socket);
                client.write_all(b"go").unwrap();
                let mut received = vec![];
                client.read_to_end(&mut received).unwrap();
                received
            },
            async |tcp| {
                let mut stream = TlsStream::accept(server, tcp).await.unwrap();
                assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 2);
                let mut most = 0;
                for part in pattern(16 << 20).chunks(100_000) {
                    stream.write_all(part).await.unwrap();
                    most = most.max(stream.rest.unsent.len());
                }
                stream.shutdown().await.unwrap();
                most
            },
        );
        assert!(received == pattern(16 << 20));
        assert!(most < SEAL_BYTES + 1024, "{most}");
    }

    #[test]
    fn an_end_of_tcp_alone_is_told_from_the_end_of_the_data() {
        let (config, server) = configs(&TLS13);
        let ((), outcome) = meet(
            move |socket| {
                let mut client = shake(config, socket);
                client.write_all(b"half").unwrap();
                client.sock.shutdown(Shutdown::Write).unwrap();
                // Until the server has seen it.
                let _ = client.read_to_end(&mut vec![]);
            },
            async |tcp| {
                let mut stream = TlsStream::accept(server, tcp).await.unwrap();
                echo(&mut stream, &[100]).await
            },
        );
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nonsense_is_answered_with_an_alert() {
        let (_, server) = configs(&TLS13);
        let (answer, outcome) = meet(
            |mut socket| {
                socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
                let mut answer = [0; 3];
                socket.read_exact(&mut answer).unwrap();
                answer
            },
            async |tcp| TlsStream::accept(server, tcp).await.map(drop),
        );
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(answer[0], 21, "an alert record");
    }
}
