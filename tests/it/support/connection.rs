//! One TCP or TLS connection under a test's full control, in either role: bytes out, bytes,
//! heads, answers and frames in. Every read is bounded by [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::frame::Frame;
use super::wait::PATIENCE;

/// A connection and what of its input was not asked for yet.
pub struct Connection {
    stream: Stream,
    unread: Vec<u8>,
    record: Arc<Mutex<Vec<u8>>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The fields in the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: String,
}

impl Connection {
    /// Connects over TCP.
    pub fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Connects over TLS as `config` says.
    pub fn open_tls(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Self {
        Self::open(address).secured(name, config)
    }

    /// Connects over TCP from another address of this machine.
    pub fn open_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    /// The same, with TLS over it from here on.
    pub fn secured(self, name: &str, config: Arc<ClientConfig>) -> Self {
        let Stream::Plain(tcp) = self.stream else {
            panic!("TLS already")
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(config, name).unwrap();
        Self::with(Stream::Tls(Box::new(StreamOwned::new(session, tcp))))
    }

    /// Takes over a connected socket.
    pub fn over(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self::with(Stream::Plain(tcp))
    }

    fn with(stream: Stream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            record: Arc::default(),
        }
    }

    /// Everything that comes in is added to `record` too.
    pub fn recorded(self, record: Arc<Mutex<Vec<u8>>>) -> Self {
        Self { record, ..self }
    }

    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// The TLS session, once its handshake is done.
    ///
    /// # Panics
    /// When the handshake fails.
    #[track_caller]
    pub fn tls(&mut self) -> &ClientConnection {
        self.try_tls().expect("a TLS handshake")
    }

    /// The TLS session, once its handshake is done.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn try_tls(&mut self) -> io::Result<&ClientConnection> {
        let Stream::Tls(tls) = &mut self.stream else {
            panic!("a plain connection")
        };
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(&tls.conn)
    }

    /// Sends the first flight of the TLS handshake one byte per segment.
    pub fn dribble_handshake(&mut self) {
        for byte in self.hello() {
            self.tcp().write_all(&[byte]).unwrap();
        }
    }

    /// Sends bytes in the clear and the first flight of the TLS handshake in one segment.
    pub fn send_before_handshake(&mut self, bytes: &[u8]) {
        let segment = [bytes, &self.hello()].concat();
        self.tcp().write_all(&segment).unwrap();
    }

    fn hello(&mut self) -> Vec<u8> {
        let Stream::Tls(tls) = &mut self.stream else {
            panic!("a plain connection")
        };
        let mut hello = Vec::new();
        tls.conn.write_tls(&mut hello).unwrap();
        hello
    }

    /// Sends the first flight of the TLS handshake in records of so many bytes each.
    pub fn fragment_handshake(&mut self, size: usize) {
        let Stream::Tls(tls) = &mut self.stream else {
            panic!("a plain connection")
        };
        let mut hello = Vec::new();
        tls.conn.write_tls(&mut hello).unwrap();
        let (header, body) = hello.split_at(5);
        for piece in body.chunks(size) {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            let record = [&header[..3], &length, piece].concat();
            tls.sock.write_all(&record).unwrap();
        }
    }

    /// Changes the keys of a TLS 1.3 session as often as this.
    pub fn change_keys(&mut self, times: usize) -> io::Result<()> {
        let Stream::Tls(tls) = &mut self.stream else {
            panic!("a plain connection")
        };
        for _ in 0..times {
            tls.conn.refresh_traffic_keys().unwrap();
            tls.conn.write_tls(&mut tls.sock)?;
        }
        Ok(())
    }

    /// Sends bytes; a peer that hung up is no failure here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes);
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the peer hung up, or takes nothing for [`PATIENCE`].
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream: &mut dyn Write = match &mut self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls,
        };
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// Sends one byte per segment.
    pub fn dribble(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Sends a frame.
    pub fn send_frame(&mut self, frame: &Frame) {
        self.send(frame.encode());
    }

    /// Ends the outgoing direction.
    pub fn finish(&self) {
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Closes with a RST instead of a FIN.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(self.tcp());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads up to and with the blank line of a head; `None` when the stream ends first.
    pub fn read_head(&mut self) -> Option<String> {
        let head = self.read_head_bytes()?;
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    /// The same as it stands on the wire.
    pub fn read_head_bytes(&mut self) -> Option<Vec<u8>> {
        self.fill_until(|unread| find(unread, b"\r\n\r\n").map(|at| at + 4))
    }

    /// Reads a response; `None` when the stream ends first.
    pub fn read_answer(&mut self) -> Option<Answer> {
        let head = self.read_head()?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: String::new(),
        };
        answer.body = String::from_utf8_lossy(&self.read_body(&answer)).into_owned();
        Some(answer)
    }

    /// Reads a response.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.read_answer()
            .expect("an answer before the end of the connection")
    }

    /// Reads a frame; `None` when the stream ends first.
    pub fn read_frame(&mut self) -> Option<Frame> {
        let wire = self.fill_until(|unread| Frame::decode(unread).map(|(_, length)| length))?;
        Frame::decode(&wire).map(|(frame, _)| frame)
    }

    /// Reads a frame.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.read_frame()
            .expect("a frame before the end of the connection")
    }

    /// Reads exactly this many bytes.
    ///
    /// # Panics
    /// When the stream ends first.
    #[track_caller]
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        self.try_read_exactly(count).expect("as many bytes")
    }

    /// Reads exactly this many bytes; `None` when the stream ends first.
    #[track_caller]
    pub fn try_read_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        self.fill_until(|unread| (unread.len() >= count).then_some(count))
    }

    /// Reads what is left until the stream ends, by FIN or by RST.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.fill_until(|_| None);
        std::mem::take(&mut self.unread)
    }

    /// Waits for the stream to end with nothing more on it.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert!(
            rest.is_empty(),
            "more came: {}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Whether nothing at all comes in for `period`, not even the end.
    pub fn is_silent_for(&mut self, period: Duration) -> bool {
        self.tcp().set_read_timeout(Some(period)).unwrap();
        let result = self.read_more();
        self.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        self.unread.is_empty() && result.is_err_and(|error| is_timeout(&error))
    }

    fn read_body(&mut self, answer: &Answer) -> Vec<u8> {
        if answer.header("transfer-encoding").is_some() {
            return self.try_read_chunks().expect("a whole body");
        }
        match answer
            .header("content-length")
            .map(|length| length.parse().unwrap())
        {
            Some(length) => self.read_exactly(length),
            None if matches!(answer.status, 100..=199 | 204 | 304) => Vec::new(),
            None => self.read_to_end(),
        }
    }

    /// Reads a chunked body, its trailers included; `None` when the stream ends first.
    pub fn try_read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                while self.read_line()? != "\r\n" {}
                return Some(body);
            }
            body.extend(&self.try_read_exactly(size + 2)?[..size]);
        }
    }

    /// Reads up to and with these bytes.
    ///
    /// # Panics
    /// When the stream ends first.
    #[track_caller]
    pub fn read_until(&mut self, end: &str) -> String {
        let found = |unread: &[u8]| find(unread, end.as_bytes()).map(|at| at + end.len());
        let text = self.fill_until(found).expect("these bytes");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads up to and with the next CRLF; `None` when the stream ends first.
    pub fn read_line(&mut self) -> Option<String> {
        let line = self.fill_until(|unread| find(unread, b"\r\n").map(|at| at + 2))?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads until `end` says where the wanted bytes end; `None` when the stream ends first.
    #[track_caller]
    fn fill_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = end(&self.unread) {
                return Some(self.unread.drain(..end).collect());
            }
            match self.read_more() {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => panic!(
                    "nothing came for {PATIENCE:?}; unread: {:?}",
                    String::from_utf8_lossy(&self.unread)
                ),
                Err(_) => return None,
            }
        }
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let count = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(&mut chunk)?,
            Stream::Tls(tls) => tls.read(&mut chunk)?,
        };
        self.unread.extend(&chunk[..count]);
        self.record.lock().unwrap().extend(&chunk[..count]);
        Ok(count)
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() && self.read_more()? == 0 {
            return Ok(0);
        }
        let count = into.len().min(self.unread.len());
        into[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl Answer {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    /// Every field of this name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// Whether the server says that it closes the connection.
    pub fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
