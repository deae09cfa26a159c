//! A running instance as the commands reach it: over its admin address.

mod place;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::{self, DEFAULT_FILE};

use place::{Place, admin_of};

/// How long a connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest line of an answer that goes on.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

type Sender = SendRequest<Full<Bytes>>;

/// Which running instance.
#[derive(clap::Args, Clone, Debug)]
pub struct InstanceArgs {
    /// The configuration file of the instance: its `[admin]` says where it answers.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Where it answers, instead of what a file says.
    #[arg(long, value_name = "URL|unix:PATH", value_parser = Place::parse, conflicts_with = "config")]
    admin: Option<Place>,
    /// File with the admin token, with --admin.
    #[arg(long, value_name = "FILE", requires = "admin")]
    token_file: Option<PathBuf>,
    /// How long its answer may take, beyond the time that what is asked for takes.
    #[arg(long, value_name = "TIME", value_parser = patience, default_value = "30s")]
    timeout: Duration,
}

/// Why a command did not get what it asked for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Failure {
    #[error("{0}")]
    Config(#[from] config::Errors),
    #[error("{}: admin.bind is \"off\": this instance can't be asked", .0.display())]
    Off(PathBuf),
    #[error("{}: admin.bind has port 0: say with --admin where the instance answers", .0.display())]
    AnyPort(PathBuf),
    #[error("token {}: {source}", path.display())]
    Token { path: PathBuf, source: io::Error },
    #[error(
        "no instance answers at {place}: {source} (is tidegate running, and is this its [admin] bind?)"
    )]
    NoInstance { place: String, source: io::Error },
    #[error("no instance answers at {place}: connected, and nothing came within {} s", patience.as_secs_f64())]
    Silent { place: String, patience: Duration },
    #[error("the request can't be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("{place}: connection lost: {source}")]
    Lost { place: String, source: hyper::Error },
    #[error("what answers at {0} is no tidegate")]
    Foreign(String),
    #[error("{}", refusal(*status, answer))]
    Refused { status: StatusCode, answer: Value },
}

/// A running instance.
#[derive(Debug)]
pub struct AdminClient {
    place: Place,
    token: Option<HeaderValue>,
    patience: Duration,
}

impl InstanceArgs {
    /// The instance that is meant; it is not asked anything yet.
    ///
    /// # Errors
    /// When neither file nor argument says where it answers.
    pub fn client(&self) -> Result<AdminClient, Failure> {
        let (place, token_file) = match &self.admin {
            Some(place) => (place.clone(), self.token_file.clone()),
            None => {
                let admin = admin_of(&self.config)?;
                (Place::of(&admin, &self.config)?, admin.token_file)
            }
        };
        let token = token_file.map(|path| read_token(&path)).transpose()?;
        Ok(AdminClient {
            place,
            token,
            patience: self.timeout,
        })
    }
}

impl AdminClient {
    /// What is asked for may take so long by itself.
    pub fn allowing(self, time: Duration) -> Self {
        Self {
            patience: self.patience.saturating_add(time),
            ..self
        }
    }

    /// Reads something.
    ///
    /// # Errors
    /// When nothing good comes back.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// When nothing good comes back.
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.call(Method::POST, path, body)
    }

    /// Asks for something to be ended.
    ///
    /// # Errors
    /// When nothing good comes back.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None)
    }

    /// Reads an answer that goes on, line by line, until it ends or `heard` says that it is enough.
    ///
    /// # Errors
    /// When nothing good comes back, or the connection is lost.
    pub fn follow(&self, path: &str, mut heard: impl FnMut(&str) -> bool) -> Result<(), Failure> {
        self.run(async {
            let request = self.request(Method::GET, path, None)?;
            let mut sender = self.reach().await?;
            let response = self.answered(self.send(&mut sender, request)).await?;
            if !response.status().is_success() {
                return self.read(response).await.map(drop);
            }
            let (mut body, mut lines) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|source| self.lost(source))?;
                lines.extend(frame.into_data().unwrap_or_default());
                while let Some(end) = memchr::memchr(b'\n', &lines) {
                    let line: Vec<u8> = lines.drain(..=end).collect();
                    if !heard(String::from_utf8_lossy(&line[..end]).as_ref()) {
                        return Ok(());
                    }
                }
                if lines.len() > MAX_LINE_BYTES {
                    return Err(Failure::Foreign(self.place.to_string()));
                }
            }
            Ok(())
        })
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.run(async {
            let request = self.request(method, path, body)?;
            let mut sender = self.reach().await?;
            self.answered(async {
                let response = self.send(&mut sender, request).await?;
                self.read(response).await
            })
            .await
        })
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .map_err(|source| self.no_instance(source))?
            .block_on(work)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.place.host())
            .header(CONTENT_TYPE, "application/json");
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        };
        Ok(request.body(Full::new(Bytes::from(body)))?)
    }

    async fn reach(&self) -> Result<Sender, Failure> {
        match &self.place {
            Place::Tcp(authority) => {
                let stream = self.connected(TcpStream::connect(authority)).await?;
                self.converse(stream).await
            }
            Place::Unix(path) => {
                let stream = self.connected(UnixStream::connect(path)).await?;
                self.converse(stream).await
            }
        }
    }

    async fn connected<S>(
        &self,
        connect: impl Future<Output = io::Result<S>>,
    ) -> Result<S, Failure> {
        let in_time = timeout(CONNECT_TIMEOUT, connect).await;
        in_time
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| self.no_instance(source))
    }

    async fn converse<S>(&self, stream: S) -> Result<Sender, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.lost(source))?;
        // It ends with the runtime, which ends with the call.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let in_time = timeout(self.patience, answer).await;
        in_time.unwrap_or_else(|_| {
            Err(Failure::Silent {
                place: self.place.to_string(),
                patience: self.patience,
            })
        })
    }

    async fn send(
        &self,
        sender: &mut Sender,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = sender.send_request(request).await;
        response.map_err(|source| self.lost(source))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Value, Failure> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
        let foreign = || Failure::Foreign(self.place.to_string());
        let bytes = body.await.map_err(|_| foreign())?.to_bytes();
        match (status.is_success(), serde_json::from_slice(&bytes)) {
            (true, Ok(answer)) => Ok(answer),
            (false, Ok(answer)) => Err(Failure::Refused { status, answer }),
            (true, Err(_)) => Err(foreign()),
            (false, Err(_)) => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                Err(Failure::Refused {
                    status,
                    answer: Value::String(text),
                })
            }
        }
    }

    fn lost(&self, source: hyper::Error) -> Failure {
        Failure::Lost {
            place: self.place.to_string(),
            source,
        }
    }

    fn no_instance(&self, source: io::Error) -> Failure {
        Failure::NoInstance {
            place: self.place.to_string(),
            source,
        }
    }
}

/// A name as a segment of a path or a value of a query.
pub fn encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

fn read_token(path: &Path) -> Result<HeaderValue, Failure> {
    let read = || {
        let text = std::fs::read_to_string(path)?;
        let token = text.lines().next().unwrap_or_default().trim();
        HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a token"))
    };
    read().map_err(|source| Failure::Token {
        path: path.to_owned(),
        source,
    })
}

fn patience(text: &str) -> Result<Duration, &'static str> {
    config::duration(text).ok_or("not a duration (write 20s)")
}

/// What the instance said against it, in its own words.
fn refusal(status: StatusCode, answer: &Value) -> String {
    let error = match answer {
        Value::String(text) => Some(text.as_str()),
        answer => answer["error"].as_str(),
    };
    match (error, answer["errors"].as_array()) {
        (Some(error), _) if status == StatusCode::UNAUTHORIZED => {
            format!("{error} (SIGHUP takes up what was changed in token_file)")
        }
        (Some(error), _) => error.to_owned(),
        (None, Some(errors)) => {
            let lines: Vec<_> = errors.iter().filter_map(Value::as_str).collect();
            lines.join("\n")
        }
        (None, None) => format!("the instance answered {status}"),
    }
}
