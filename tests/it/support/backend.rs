//! A backend that follows a script, right or wrong: what a lying server does to the proxy.

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tungstenite::handshake::derive_accept_key;

use super::connection::Connection;

/// How long telling a listener to stop may take.
const HANG_UP: Duration = Duration::from_millis(100);

/// A listening backend; stops listening when dropped.
pub struct Backend {
    address: SocketAddr,
    visits: Arc<Mutex<Vec<Record>>>,
    stop: Arc<AtomicBool>,
    _sockets: Vec<Socket>,
}

/// What one connection received.
type Record = Arc<Mutex<Vec<u8>>>;

/// One connection the proxy made.
pub struct Visit {
    /// Bytes in and out.
    pub connection: Connection,
}

impl Backend {
    /// Runs `script` for each connection, on a thread of its own.
    pub fn script(script: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = Self::holding(listener.local_addr().unwrap(), Vec::new());
        let (visits, stop) = (Arc::clone(&backend.visits), Arc::clone(&backend.stop));
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let record = Record::default();
                visits.lock().unwrap().push(Arc::clone(&record));
                let connection = Connection::over(stream).recorded(record);
                let script = Arc::clone(&script);
                thread::spawn(move || script(Visit { connection }));
            }
        });
        backend
    }

    /// Reads a request head, answers with these bytes, holds the connection.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::script(move |mut visit| {
            visit.connection.read_head();
            visit.connection.send(&bytes);
            visit.hold();
        })
    }

    /// Answers upgrades rightly, then runs `script` on the tunnel.
    pub fn accepting(script: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        Self::script(move |mut visit| {
            if visit.accept("").is_some() {
                script(visit);
            }
        })
    }

    /// Accepts connections and says nothing.
    pub fn silent() -> Self {
        Self::script(Visit::hold)
    }

    /// Hangs up as soon as it has read a request head.
    pub fn hanging_up() -> Self {
        Self::script(|mut visit| drop(visit.connection.read_head()))
    }

    /// An address where every connection is refused, for as long as this lives.
    pub fn refusing() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&loopback()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self::holding(address, vec![socket])
    }

    /// An address where connecting hangs: its queue is full, further SYNs are dropped.
    pub fn unreachable() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&loopback()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            sockets.push(filler);
        }
        Self::holding(address, sockets)
    }

    fn holding(address: SocketAddr, sockets: Vec<Socket>) -> Self {
        Self {
            address,
            visits: Arc::default(),
            stop: Arc::default(),
            _sockets: sockets,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections the proxy made so far.
    pub fn visits(&self) -> usize {
        self.visits.lock().unwrap().len()
    }

    /// Everything that connection `number` received so far, as far as its script read it.
    pub fn received(&self, number: usize) -> String {
        String::from_utf8_lossy(&self.received_bytes(number)).into_owned()
    }

    /// The same, as it came.
    pub fn received_bytes(&self, number: usize) -> Vec<u8> {
        let record = Arc::clone(&self.visits.lock().unwrap()[number]);
        let bytes = record.lock().unwrap();
        bytes.clone()
    }
}

impl Visit {
    /// Reads an upgrade request and answers 101 with further header lines (each with its CRLF);
    /// gives the request's head, `None` when the connection ended before one.
    pub fn accept(&mut self, lines: &str) -> Option<String> {
        let head = self.connection.read_head()?;
        self.connection.send(switching_protocols(&head, lines));
        Some(head)
    }

    /// Reads and discards until the proxy closes.
    pub fn hold(mut self) {
        self.connection.read_to_end();
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect_timeout(&self.address, HANG_UP);
    }
}

/// The right answer to an upgrade request, with further header lines.
pub fn switching_protocols(head: &str, lines: &str) -> String {
    let accept = accept_of(head);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    )
}

/// What `Sec-WebSocket-Accept` must be for this request.
pub fn accept_of(head: &str) -> String {
    derive_accept_key(
        field(head, "sec-websocket-key")
            .unwrap_or_default()
            .as_bytes(),
    )
}

/// A field of a head, by its name in lower case.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn loopback() -> socket2::SockAddr {
    SocketAddr::from(([127, 0, 0, 1], 0)).into()
}
