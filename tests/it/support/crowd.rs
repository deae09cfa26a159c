//! A crowd that comes all at once and takes whatever answer it gets.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::request::Request;

/// How long a whole crowd may take on a busy machine.
const CROWD_PATIENCE: Duration = Duration::from_secs(60);

/// Clients that asked for a WebSocket, each with its answer.
pub struct Crowd {
    runtime: tokio::runtime::Runtime,
    answered: Vec<(TcpStream, String)>,
    faults: Vec<String>,
}

impl Crowd {
    /// Connects `size` clients at once, each asks for a WebSocket, and waits for every answer.
    pub fn arrive(address: SocketAddr, size: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcomes = runtime.block_on(async {
            let mut clients = JoinSet::new();
            for _ in 0..size {
                clients.spawn(timeout(CROWD_PATIENCE, ask(address)));
            }
            clients.join_all().await
        });
        let mut crowd = Self {
            runtime,
            answered: Vec::with_capacity(size),
            faults: Vec::new(),
        };
        for outcome in outcomes {
            match outcome {
                Ok(Ok(answered)) => crowd.answered.push(answered),
                Ok(Err(error)) => crowd.faults.push(error.to_string()),
                Err(_) => crowd.faults.push("no answer".to_owned()),
            }
        }
        crowd
    }

    /// How many got which status; nobody may have got none.
    #[track_caller]
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        assert!(
            self.faults.is_empty(),
            "{} faults, such as {:?}",
            self.faults.len(),
            self.faults.first()
        );
        let mut statuses = BTreeMap::new();
        for (_, head) in &self.answered {
            let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
            *statuses.entry(status.expect("a status")).or_default() += 1;
        }
        statuses
    }

    /// The answers with this status.
    pub fn heads(&self, status: u16) -> impl Iterator<Item = &str> {
        let start = format!("HTTP/1.1 {status} ");
        let heads = self.answered.iter().map(|(_, head)| head.as_str());
        heads.filter(move |head| head.starts_with(&start))
    }

    /// Waits until every connection has ended.
    #[track_caller]
    pub fn wait_for_the_end(self) {
        let Self {
            runtime, answered, ..
        } = self;
        runtime.block_on(async {
            for (mut stream, _) in answered {
                let mut rest = Vec::new();
                let end = timeout(CROWD_PATIENCE, stream.read_to_end(&mut rest)).await;
                assert!(end.is_ok(), "still open");
            }
        });
    }
}

async fn ask(address: SocketAddr) -> io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&Request::upgrade().bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok((stream, String::from_utf8_lossy(&head).into_owned()))
}
