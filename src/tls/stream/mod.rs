//! A byte stream over TLS, in either role. Records are opened and sealed in buffers of the thread,
//! so that an idle stream holds none; the socket below is the caller's.

mod engine;
mod scratch;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use engine::Engine;

/// Read in one go at least, however little the reader asks for.
const MIN_READ_BYTES: usize = 4096;
/// Most bytes sealed in one go: what a relay reads at a time.
const SEAL_BYTES: usize = 64 * 1024 + 64;
/// Records that wait, the tickets behind a handshake, and go with the next ones up to here.
const MAX_RIDING_BYTES: usize = 4096;

/// A peer's byte stream over TLS.
pub struct TlsStream<S> {
    socket: S,
    engine: Engine,
    close_sent: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands with a client; `early` is what it has sent already.
    ///
    /// # Errors
    /// `InvalidData` with the [`rustls::Error`] when the client breaks the protocol or is refused;
    /// else what happened to the connection.
    pub async fn accept(config: Arc<ServerConfig>, socket: S, early: &[u8]) -> io::Result<Self> {
        let engine = Engine::server(config, early).map_err(io::Error::other)?;
        let mut stream = Self::shake(socket, engine).await?;
        // TLS 1.3 leaves tickets for the next visit, which go with the first answer; TLS 1.2 leaves
        // what the client waits for.
        if stream.state().protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            poll_fn(|cx| stream.poll_unsent(cx)).await?;
        }
        Ok(stream)
    }

    /// Shakes hands with the server of that name.
    ///
    /// # Errors
    /// As above, by the server's fault.
    pub async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: S,
    ) -> io::Result<Self> {
        let engine = Engine::client(config, name).map_err(io::Error::other)?;
        let mut stream = Self::shake(socket, engine).await?;
        poll_fn(|cx| stream.poll_unsent(cx)).await?;
        Ok(stream)
    }

    async fn shake(socket: S, engine: Engine) -> io::Result<Self> {
        let mut stream = Self {
            socket,
            engine,
            close_sent: false,
        };
        poll_fn(|cx| Poll::Ready(stream.begin(cx))).await?;
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let outcome = self.engine.begin();
        self.tell(outcome, cx)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.state().is_handshaking() {
            // Both at once: each side may wait for the other to read.
            let _: Poll<()> = self.poll_unsent(cx)?;
            ready!(self.poll_receive(cx, &mut ReadBuf::new(&mut [])))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads records from the socket, and opens them.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.engine.check()?;
        scratch::with_incoming(|records| {
            let kept = self.engine.kept();
            let held = kept.len();
            // No more than there is room for when it is opened.
            let most = room.remaining().saturating_sub(held).max(MIN_READ_BYTES);
            let end = records.len().min(held + most);
            let (before, new) = records[..end].split_at_mut(held);
            before.copy_from_slice(kept);
            let mut read = ReadBuf::new(new);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
            let end = held + read.filled().len();
            if end == held {
                // RFC 8446 section 6.1: the end of TCP alone is not the end of the data.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let outcome = self.engine.open(&mut records[..end], room);
            Poll::Ready(self.tell(outcome, cx))
        })
    }

    /// Tells the peer what it did wrong, as far as its socket takes it.
    fn tell(&mut self, outcome: io::Result<()>, cx: &mut Context<'_>) -> io::Result<()> {
        outcome.inspect_err(|_| {
            // The connection has failed; that this may fail too changes nothing.
            let _: Poll<io::Result<()>> = self.poll_unsent(cx);
        })
    }

    /// Sends records, and keeps those that the socket does not take.
    fn send(&mut self, records: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        let Self { socket, engine, .. } = self;
        let unsent = &mut engine.out.unsent;
        if !unsent.is_empty() {
            unsent.push(records);
            let _: Poll<()> = self.poll_unsent(cx)?;
            return Ok(());
        }
        let sent = match Pin::new(socket).poll_write(cx, records)? {
            Poll::Ready(sent) => sent,
            Poll::Pending => 0,
        };
        unsent.push(&records[sent..]);
        if sent > 0 && !unsent.is_empty() {
            // Asked once more, so that the socket wakes us.
            let _: Poll<()> = self.poll_unsent(cx)?;
        }
        Ok(())
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unsent = &mut self.engine.out.unsent;
        while !unsent.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, unsent.rest()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => unsent.take(sent),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.close_sent && !self.engine.failed {
            self.close_sent = true;
            scratch::with_outgoing(|records| {
                let length = self.engine.close(records)?;
                self.send(&records[..length], cx)
            })?;
        }
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S> TlsStream<S> {
    /// The connection below.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// What was agreed.
    pub fn state(&self) -> &CommonState {
        self.engine.state()
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = room.remaining();
        loop {
            this.engine.out.pour(room);
            if room.remaining() < before || before == 0 || this.engine.out.ended {
                return Poll::Ready(Ok(()));
            }
            let said = this.engine.out.unsent.len();
            match ready!(this.poll_receive(cx, room)) {
                // What came before a broken record is whole; the next read tells of the failure.
                Err(_) if room.remaining() < before => return Poll::Ready(Ok(())),
                outcome => outcome?,
            }
            if this.engine.out.unsent.len() > said {
                // What the session answers by itself; if it has to wait, it goes with the next write.
                let _: Poll<()> = this.poll_unsent(cx)?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        plain: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.engine.out.unsent.len() > MAX_RIDING_BYTES {
            ready!(this.poll_unsent(cx))?;
        }
        let piece = &plain[..plain.len().min(SEAL_BYTES)];
        scratch::with_outgoing(|records| {
            let length = this.engine.seal(piece, records)?;
            this.send(&records[..length], cx)?;
            Poll::Ready(Ok(piece.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_unsent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
