//! A strict WebSocket client (tungstenite) for conversations in which the frames do not matter.

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

use super::connection::Connection;

/// An open WebSocket.
pub struct WebSocket {
    socket: tungstenite::WebSocket<Connection>,
    response: Response,
}

impl WebSocket {
    /// Opens a WebSocket over a connection.
    ///
    /// # Panics
    /// When the answer is not a right 101.
    #[track_caller]
    pub fn open(connection: Connection, path: &str) -> Self {
        Self::open_with(connection, path, &[])
    }

    /// Opens a WebSocket with further header fields.
    ///
    /// # Panics
    /// When the answer is not a right 101.
    #[track_caller]
    pub fn open_with(
        connection: Connection,
        path: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Self {
        let mut request = format!("ws://example.test{path}")
            .into_client_request()
            .unwrap();
        for &(name, value) in fields {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (socket, response) = tungstenite::client(request, connection).expect("a 101");
        Self { socket, response }
    }

    /// A header field of the 101.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    /// Who answered, where the backend is an [`Echo`](super::Echo).
    pub fn server(&self) -> &str {
        self.header(super::echo::SERVED_BY)
            .expect("a server's name")
    }

    /// Sends a text message.
    pub fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Reads the next text message.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        match self.socket.read().expect("a message") {
            Message::Text(text) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Says something and expects it back.
    #[track_caller]
    pub fn echo(&mut self, text: &str) {
        self.say(text);
        assert_eq!(self.hear(), text);
    }

    /// Closes with 1000, waits for the end.
    #[track_caller]
    pub fn close(mut self) {
        self.start_close(1000, "");
        assert_eq!(self.closed().map(|(code, _)| code), Some(1000));
    }

    /// Sends a Close and does not wait.
    pub fn start_close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        self.socket.close(Some(frame)).unwrap();
        let _ = self.socket.flush();
    }

    /// Reads on to the end, past any data; the Close that came, `None` where none did.
    #[track_caller]
    pub fn closed(&mut self) -> Option<(u16, String)> {
        let mut closed = None;
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => {
                    closed = Some((frame.code.into(), frame.reason.to_string()));
                }
                Ok(Message::Close(None)) => closed = Some((1005, String::new())),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return closed,
                Err(Error::Io(_) | Error::Protocol(_)) => return closed,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The code of the Close that ends this.
    #[track_caller]
    pub fn close_code(&mut self) -> u16 {
        self.closed()
            .expect("a Close before the end of the connection")
            .0
    }

    /// The connection below.
    pub fn connection(&mut self) -> &mut Connection {
        self.socket.get_mut()
    }
}
