//! TLS with one peer, in either role, without I/O: records come in and are opened, bytes are sealed
//! and go out. What a step leaves over is kept, bounded, and nothing while the stream is idle.

use std::io;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio::io::ReadBuf;

use crate::logic::parked::Parked;

/// Most bytes of records that may wait for what completes them: the largest handshake message that
/// rustls takes (64 KiB), in records. A record of application data is a quarter of that.
pub(super) const MAX_KEPT_BYTES: usize = 72 * 1024;

/// One peer's TLS.
pub(super) struct Engine {
    session: Session,
    /// The start of a record or of a handshake message; mostly nothing.
    pub(super) kept: Vec<u8>,
    /// What has come out and not gone where it goes.
    pub(super) out: Out,
    /// The peer broke the protocol, and rustls is not asked again.
    pub(super) failed: bool,
}

/// What came out of a session.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Opened, and more than the reader had room for.
    pub(super) opened: Parked,
    /// Records that the socket has not taken.
    pub(super) unsent: Parked,
    /// The peer has said that nothing follows.
    pub(super) ended: bool,
}

/// rustls' part, by the role we have.
enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What is the same in both roles.
trait Role {
    type Data;

    fn state(&self) -> &CommonState;

    fn process<'c, 'r>(&'c mut self, records: &'r mut [u8])
    -> UnbufferedStatus<'c, 'r, Self::Data>;
}

impl Engine {
    /// For the side that was connected to; `early` is what the peer has sent already.
    pub(super) fn server(config: Arc<ServerConfig>, early: &[u8]) -> Result<Self, rustls::Error> {
        let session = UnbufferedServerConnection::new(config).map(Session::Server)?;
        Ok(Self::new(session, early.to_vec()))
    }

    /// For the side that connects to `name`.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let session = UnbufferedClientConnection::new(config, name).map(Session::Client)?;
        Ok(Self::new(session, Vec::new()))
    }

    fn new(session: Session, kept: Vec<u8>) -> Self {
        Self {
            session,
            kept,
            out: Out::default(),
            failed: false,
        }
    }

    /// What was agreed.
    pub(super) fn state(&self) -> &CommonState {
        match &self.session {
            Session::Server(server) => server,
            Session::Client(client) => client,
        }
    }

    /// Bytes that came in and wait for more.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes up the handshake: our first words, an answer to what came early.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let mut early = std::mem::take(&mut self.kept);
        self.open(&mut early, &mut ReadBuf::new(&mut []))
    }

    /// Opens records in place: [`Engine::kept`] and what came behind it. What `room` can't hold
    /// waits in [`Out::opened`].
    ///
    /// # Errors
    /// `InvalidData` when the peer breaks the protocol or is not accepted; the alert that tells it
    /// is in [`Out::unsent`].
    pub(super) fn open(&mut self, records: &mut [u8], room: &mut ReadBuf<'_>) -> io::Result<()> {
        self.check()?;
        let done = match &mut self.session {
            Session::Server(server) => open(server, records, &mut self.out, room),
            Session::Client(client) => open(client, records, &mut self.out, room),
        };
        self.failed = done.is_err();
        let done = done?;
        // What follows an end is nobody's (RFC 8446 section 6.1).
        let rest = match self.out.ended {
            true => &[],
            false => records.get(done..).unwrap_or_default(),
        };
        if rest.len() > MAX_KEPT_BYTES {
            self.failed = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.kept.clear();
        self.kept.extend_from_slice(rest);
        if rest.is_empty() {
            self.kept = Vec::new();
        }
        Ok(())
    }

    /// Seals `plain`, and says how many bytes of `records` that takes.
    ///
    /// # Errors
    /// When the session has failed or is over.
    pub(super) fn seal(&mut self, plain: &[u8], records: &mut [u8]) -> io::Result<usize> {
        self.write(Some(plain), records)
    }

    /// Seals the notice that nothing follows, as above.
    pub(super) fn close(&mut self, records: &mut [u8]) -> io::Result<usize> {
        self.write(None, records)
    }

    /// Whether it has not failed.
    ///
    /// # Errors
    /// `InvalidData` once it has.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.failed {
            true => Err(io::ErrorKind::InvalidData.into()),
            false => Ok(()),
        }
    }

    fn write(&mut self, plain: Option<&[u8]>, records: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let Self {
            session, kept, out, ..
        } = self;
        match session {
            Session::Server(server) => seal(server, kept, out, plain, records),
            Session::Client(client) => seal(client, kept, out, plain, records),
        }
    }
}

impl Role for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn state(&self) -> &CommonState {
        self
    }

    fn process<'c, 'r>(
        &'c mut self,
        records: &'r mut [u8],
    ) -> UnbufferedStatus<'c, 'r, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Role for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn state(&self) -> &CommonState {
        self
    }

    fn process<'c, 'r>(
        &'c mut self,
        records: &'r mut [u8],
    ) -> UnbufferedStatus<'c, 'r, Self::Data> {
        self.process_tls_records(records)
    }
}

/// Opens what is whole, and says how many bytes of `records` are done with.
fn open<R: Role>(
    role: &mut R,
    records: &mut [u8],
    out: &mut Out,
    room: &mut ReadBuf<'_>,
) -> io::Result<usize> {
    let mut done = 0;
    loop {
        let rest = records.get_mut(done..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = role.process(rest);
        done += discard;
        let goes_on = match state {
            Ok(state) => out.take(state, room)?,
            Err(error) => {
                alert(role, records.get_mut(done..).unwrap_or_default(), out);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        if !goes_on {
            return Ok(done);
        }
    }
}

/// Takes the alert for the peer whose fault it was, with what was to go before it.
fn alert<R: Role>(role: &mut R, rest: &mut [u8], out: &mut Out) {
    while role.state().wants_write() {
        let UnbufferedStatus { state, .. } = role.process(rest);
        let Ok(state @ ConnectionState::EncodeTlsData(_)) = state else {
            return;
        };
        // An error here changes nothing: the session has failed.
        let _: io::Result<bool> = out.take(state, &mut ReadBuf::new(&mut []));
    }
}

/// Seals `plain`, or the notice that nothing follows.
fn seal<R: Role>(
    role: &mut R,
    kept: &mut Vec<u8>,
    out: &mut Out,
    plain: Option<&[u8]>,
    records: &mut [u8],
) -> io::Result<usize> {
    loop {
        // The way to write leads past what came in, of which nothing is whole.
        let UnbufferedStatus { discard, state } = role.process(kept);
        match state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let sealed = match plain {
                    Some(plain) => traffic.encrypt(plain, records),
                    None => traffic.queue_close_notify(records),
                };
                return sealed.map_err(io::Error::other);
            }
            ConnectionState::BlockedHandshake | ConnectionState::Closed => {
                return Err(io::ErrorKind::NotConnected.into());
            }
            state => out.take(state, &mut ReadBuf::new(&mut []))?,
        };
        kept.drain(..discard);
    }
}

impl Out {
    /// Gives the reader what was opened before.
    pub(super) fn pour(&mut self, room: &mut ReadBuf<'_>) {
        let count = self.opened.len().min(room.remaining());
        room.put_slice(&self.opened.rest()[..count]);
        self.opened.take(count);
    }

    /// Takes what a session has to give; false when that is all for now.
    fn take<Data>(
        &mut self,
        state: ConnectionState<'_, '_, Data>,
        room: &mut ReadBuf<'_>,
    ) -> io::Result<bool> {
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let payload = record.map_err(io::Error::other)?.payload;
                    let (fits, rest) = payload.split_at(payload.len().min(room.remaining()));
                    room.put_slice(fits);
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
            ConnectionState::PeerClosed => self.ended = true,
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed => return Ok(false),
            // Early data is not offered.
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(true)
    }
}
