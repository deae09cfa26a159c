//! Held against rustls' own buffered connections, in both roles, however the bytes are cut.

use std::io::{self, Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::engine::{Engine, MAX_KEPT_BYTES};
use super::*;

/// Which side the engine under test is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum We {
    Serve,
    Connect,
}

/// An engine and its peer, and what has come through in each direction.
struct Pair {
    ours: Engine,
    peer: Connection,
    /// Sizes in which records arrive, in turn.
    cuts: Vec<usize>,
    cut: usize,
    /// What our reader has room for.
    room: usize,
    we_heard: Vec<u8>,
    peer_heard: Vec<u8>,
}

impl Pair {
    fn new(we: We, configs: &Configs, cuts: &[usize], room: usize) -> Self {
        let (client, server) = (Arc::clone(&configs.client), Arc::clone(&configs.server));
        let (ours, peer) = match we {
            We::Serve => (
                Engine::server(server, &[]).unwrap(),
                Connection::Client(ClientConnection::new(client, name()).unwrap()),
            ),
            We::Connect => (
                Engine::client(client, name()).unwrap(),
                Connection::Server(ServerConnection::new(server).unwrap()),
            ),
        };
        Self {
            ours,
            peer,
            cuts: cuts.to_vec(),
            cut: 0,
            room,
            we_heard: vec![],
            peer_heard: vec![],
        }
    }

    /// Shaken hands.
    fn met(we: We, configs: &Configs, cuts: &[usize], room: usize) -> Self {
        let mut pair = Self::new(we, configs, cuts, room);
        pair.ours.begin().unwrap();
        pair.settle().unwrap();
        assert!(!pair.ours.state().is_handshaking() && !pair.peer.is_handshaking());
        pair
    }

    /// Carries records back and forth until nobody has any.
    fn settle(&mut self) -> io::Result<()> {
        loop {
            let to_peer = self.ours.out.unsent.rest().to_vec();
            self.ours.out.unsent.take(to_peer.len());
            self.give_peer(&to_peer);
            let mut to_us = vec![];
            while self.peer.wants_write() {
                self.peer.write_tls(&mut to_us).unwrap();
            }
            if to_peer.is_empty() && to_us.is_empty() {
                return Ok(());
            }
            self.give_us(&to_us)?;
        }
    }

    fn give_peer(&mut self, mut records: &[u8]) {
        while !records.is_empty() {
            self.peer.read_tls(&mut records).unwrap();
            self.peer.process_new_packets().unwrap();
            // An end in the middle of it is told by the next read.
            let _ = self.peer.reader().read_to_end(&mut self.peer_heard);
        }
    }

    fn give_us(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let cut = self.cuts[self.cut % self.cuts.len()].min(records.len());
            self.cut += 1;
            let mut held = [self.ours.kept(), &records[..cut]].concat();
            records = &records[cut..];
            let mut room = vec![0; self.room];
            let mut room = ReadBuf::new(&mut room);
            self.ours.open(&mut held, &mut room)?;
            self.we_heard.extend_from_slice(room.filled());
            let more = &mut self.ours.out.opened;
            self.we_heard.extend_from_slice(more.rest());
            more.take(more.len());
        }
        Ok(())
    }

    fn peer_says(&mut self, plain: &[u8]) {
        for part in plain.chunks(30_000) {
            self.peer.writer().write_all(part).unwrap();
            self.settle().unwrap();
        }
    }

    fn we_say(&mut self, plain: &[u8]) {
        for part in plain.chunks(SEAL_BYTES) {
            let mut records = vec![0; scratch::RECORDS_BYTES];
            let length = self.ours.seal(part, &mut records).unwrap();
            self.ours.out.unsent.push(&records[..length]);
            self.settle().unwrap();
        }
    }
}

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Configs {
    fn of(version: &'static SupportedProtocolVersion) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut server = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.ticketer = crate::tls::ticketer().unwrap();
        Self {
            client: Arc::new(client),
            server: Arc::new(server),
        }
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

const BOTH: [We; 2] = [We::Serve, We::Connect];

fn versions() -> [&'static SupportedProtocolVersion; 2] {
    [&TLS12, &TLS13]
}

#[test]
fn a_handshake_and_its_first_words_survive_every_regular_cut() {
    for version in versions() {
        let configs = Configs::of(version);
        for we in BOTH {
            for cut in (1..40).chain([100, 1000, 5000]) {
                let mut pair = Pair::met(we, &configs, &[cut], 16);
                pair.peer_says(b"hello");
                pair.we_say(b"and to you");
                assert_eq!(pair.we_heard, b"hello", "{we:?} {cut}");
                assert_eq!(pair.peer_heard, b"and to you", "{we:?} {cut}");
            }
        }
    }
}

#[test]
fn an_idle_stream_holds_nothing() {
    for we in BOTH {
        let mut pair = Pair::met(we, &Configs::of(&TLS13), &[7, 1000], 100);
        pair.peer_says(&pattern(50_000));
        pair.we_say(&pattern(50_000));
        assert!(pair.ours.kept.capacity() == 0);
        assert!(pair.ours.out.opened.is_empty() && pair.ours.out.unsent.is_empty());
    }
}

#[test]
fn sessions_are_resumed_by_either_side() {
    for version in versions() {
        let configs = Configs::of(version);
        for we in BOTH {
            let kinds = [(); 3].map(|()| {
                let mut pair = Pair::met(we, &configs, &[1000], 1000);
                pair.peer_says(b"hello");
                pair.ours.state().handshake_kind().unwrap()
            });
            assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{we:?}");
        }
    }
}

#[test]
fn keys_change_under_way() {
    for we in BOTH {
        let mut pair = Pair::met(we, &Configs::of(&TLS13), &[11], 100);
        for _ in 0..3 {
            pair.peer_says(b"ping");
            pair.peer.refresh_traffic_keys().unwrap();
            pair.settle().unwrap();
            pair.we_say(b"pong");
        }
        assert_eq!(pair.we_heard, b"pingpingping");
        assert_eq!(pair.peer_heard, b"pongpongpong");
    }
}

#[test]
fn each_side_ends_by_itself() {
    for version in versions() {
        let mut pair = Pair::met(We::Serve, &Configs::of(version), &[100], 100);
        pair.peer_says(b"last words");
        pair.peer.send_close_notify();
        pair.settle().unwrap();
        assert!(pair.ours.out.ended);
        pair.we_say(b"an answer to them");
        let mut records = [0; 100];
        let length = pair.ours.close(&mut records).unwrap();
        pair.give_peer(&records[..length]);
        assert_eq!(pair.peer_heard, b"an answer to them");
        assert_eq!(pair.peer.reader().read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn nothing_behind_the_end_is_read_or_kept() {
    let mut pair = Pair::met(We::Serve, &Configs::of(&TLS13), &[1000], 100);
    pair.peer.send_close_notify();
    let mut records = vec![];
    pair.peer.write_tls(&mut records).unwrap();
    records.extend_from_slice(&[23; 500]);
    pair.give_us(&records).unwrap();
    assert!(pair.ours.out.ended && pair.ours.kept().is_empty());
}

#[test]
fn a_record_that_was_touched_is_refused_with_an_alert_and_for_good() {
    for version in versions() {
        let mut pair = Pair::met(We::Serve, &Configs::of(version), &[1000], 100);
        pair.peer.writer().write_all(b"pay 1").unwrap();
        let mut records = vec![];
        pair.peer.write_tls(&mut records).unwrap();
        *records.last_mut().unwrap() ^= 1;
        let error = pair.give_us(&records).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut told = pair.ours.out.unsent.rest();
        pair.peer.read_tls(&mut told).unwrap();
        let error = pair.peer.process_new_packets().unwrap_err();
        assert!(matches!(error, rustls::Error::AlertReceived(_)), "{error}");
        assert!(pair.ours.seal(b"x", &mut [0; 100]).is_err());
        assert!(pair.give_us(b"more").is_err());
    }
}

#[test]
fn a_message_that_never_ends_is_cut_off() {
    let mut ours = Engine::server(Configs::of(&TLS13).server, &[]).unwrap();
    // A ClientHello of almost 64 KiB, in records of one byte.
    let mut sent = 0;
    let outcome = [1, 0, 0xff, 0xf0]
        .into_iter()
        .chain(std::iter::repeat(0))
        .take(100_000)
        .try_for_each(|byte| {
            let mut held = [ours.kept(), &[22, 3, 3, 0, 1, byte]].concat();
            sent += 6;
            let outcome = ours.open(&mut held, &mut ReadBuf::new(&mut []));
            assert!(ours.kept().len() <= MAX_KEPT_BYTES);
            outcome
        });
    assert!(outcome.is_err(), "after {sent} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bytes_come_through_whatever_the_cuts_and_the_room(
        serve in any::<bool>(),
        old in any::<bool>(),
        cuts in prop::collection::vec(1..20_000_usize, 1..8),
        room in 0..70_000_usize,
        sizes in prop::collection::vec(0..150_000_usize, 1..4),
    ) {
        let we = if serve { We::Serve } else { We::Connect };
        let configs = Configs::of(if old { &TLS12 } else { &TLS13 });
        let mut pair = Pair::met(we, &configs, &cuts, room);
        let mut said = vec![];
        for size in sizes {
            let part = pattern(size);
            pair.peer_says(&part);
            pair.we_say(&part);
            said.extend(part);
        }
        prop_assert!(pair.we_heard == said);
        prop_assert!(pair.peer_heard == said);
    }

    #[test]
    fn no_bytes_of_a_peer_make_us_panic(
        serve in any::<bool>(),
        behind in any::<bool>(),
        cut in 1..500_usize,
        noise in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let we = if serve { We::Serve } else { We::Connect };
        let configs = Configs::of(&TLS13);
        let mut pair = match behind {
            true => Pair::met(we, &configs, &[cut], 100),
            false => Pair::new(we, &configs, &[cut], 100),
        };
        let _ = pair.give_us(&noise);
        let _ = pair.give_us(&noise);
        let _ = pair.ours.seal(b"x", &mut [0; 1000]);
        let _ = pair.ours.close(&mut [0; 1000]);
    }
}

type Ours = TlsStream<DuplexStream>;

/// Ours and tokio-rustls' stream, over a pipe that holds so many bytes.
async fn streams(we: We, version: &'static SupportedProtocolVersion, pipe: usize) -> (Ours, Peer) {
    let Configs { client, server } = Configs::of(version);
    let (near, far) = duplex(pipe);
    match we {
        We::Serve => {
            let peer = TlsConnector::from(client);
            let (ours, peer) = tokio::join!(
                TlsStream::accept(server, near, &[]),
                peer.connect(name(), far)
            );
            (ours.unwrap(), Peer::Client(peer.unwrap()))
        }
        We::Connect => {
            let peer = TlsAcceptor::from(server);
            let (ours, peer) =
                tokio::join!(TlsStream::connect(client, name(), near), peer.accept(far));
            (ours.unwrap(), Peer::Server(peer.unwrap()))
        }
    }
}

type Peer = tokio_rustls::TlsStream<DuplexStream>;

/// Sends back what comes, read in pieces of these sizes in turn, until the peer's end.
async fn echo(stream: &mut Ours, rooms: &[usize]) -> io::Result<()> {
    for &room in rooms.iter().cycle() {
        let mut piece = vec![0; room];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&piece[..read]).await?;
        stream.flush().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_echo_is_whole_and_ends_in_order() {
    for (version, pipe, rooms) in [
        (&TLS13, 2_000, &[1, 7, 100_000][..]),
        (&TLS12, 5_000, &[65_550]),
        (&TLS13, 3_000, &[300_000]),
        (&TLS13, 1 << 20, &[16_384, 2]),
    ] {
        for we in BOTH {
            let (mut ours, peer) = streams(we, version, pipe).await;
            let (mut read, mut write) = tokio::io::split(peer);
            let said = pattern(100_000);
            let mut echoed = vec![];
            let talk = async {
                write.write_all(&said).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let (echoing, (), heard) =
                tokio::join!(echo(&mut ours, rooms), talk, read.read_to_end(&mut echoed));
            echoing.unwrap();
            heard.unwrap();
            assert!(echoed == said, "{we:?} {pipe}");
        }
    }
}

#[tokio::test]
async fn two_of_ours_understand_each_other_through_the_narrowest_pipe() {
    for version in versions() {
        let Configs { client, server } = Configs::of(version);
        let (near, far) = duplex(1);
        let (served, connected) = tokio::join!(
            TlsStream::accept(server, near, &[]),
            TlsStream::connect(client, name(), far)
        );
        let (mut served, connected) = (served.unwrap(), connected.unwrap());
        let (mut read, mut write) = tokio::io::split(connected);
        let mut echoed = vec![];
        let talk = async {
            write.write_all(&pattern(5_000)).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (echoing, (), heard) = tokio::join!(
            echo(&mut served, &[100]),
            talk,
            read.read_to_end(&mut echoed)
        );
        echoing.unwrap();
        heard.unwrap();
        assert!(echoed == pattern(5_000));
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_owed_a_bounded_amount() {
    let (mut ours, mut peer) = streams(We::Serve, &TLS13, 100).await;
    let chunk = pattern(1 << 20);
    let mut accepted = 0;
    // Whatever is accepted before the first refusal is kept for the peer.
    poll_fn(|cx| {
        while let Poll::Ready(count) = Pin::new(&mut ours).poll_write(cx, &chunk[accepted..]) {
            accepted += count.unwrap();
        }
        Poll::Ready(())
    })
    .await;
    assert!(accepted <= 2 * SEAL_BYTES, "{accepted}");
    assert!(ours.engine.out.unsent.len() <= scratch::RECORDS_BYTES + MAX_RIDING_BYTES);
    let mut heard = vec![0; accepted];
    let (flushed, read) = tokio::join!(ours.flush(), peer.read_exact(&mut heard));
    flushed.unwrap();
    read.unwrap();
    assert!(heard == chunk[..accepted]);
    assert!(ours.engine.out.unsent.is_empty());
}

#[tokio::test]
async fn an_end_of_the_connection_alone_is_told_from_the_end_of_the_data() {
    for we in BOTH {
        let (mut ours, mut peer) = streams(we, &TLS13, 10_000).await;
        peer.write_all(b"half").await.unwrap();
        peer.flush().await.unwrap();
        drop(peer);
        let mut heard = vec![];
        let error = ours.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(heard, b"half");
    }
}

#[tokio::test]
async fn what_came_before_a_broken_record_is_read_and_the_failure_stays() {
    for we in BOTH {
        let (mut ours, mut peer) = streams(we, &TLS13, 10_000).await;
        peer.write_all(b"whole").await.unwrap();
        peer.flush().await.unwrap();
        let socket = peer.get_mut().0;
        socket.write_all(b"\x17\x03\x03\x00\x03bad").await.unwrap();
        let mut heard = [0; 100];
        assert_eq!(ours.read(&mut heard).await.unwrap(), 5);
        for _ in 0..2 {
            let error = ours.read(&mut heard).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}

#[tokio::test]
async fn nonsense_is_answered_with_an_alert_also_where_it_came_early() {
    const HTTP: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    for early in [HTTP, &[]] {
        let (near, mut far) = duplex(1000);
        far.write_all(HTTP).await.unwrap();
        let error = TlsStream::accept(Configs::of(&TLS13).server, near, early)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut answer = vec![];
        far.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&21), "an alert record");
    }
}

#[tokio::test]
async fn a_hello_that_came_early_is_answered() {
    let Configs { client, server } = Configs::of(&TLS13);
    let (near, mut far) = duplex(10_000);
    let mut peer = ClientConnection::new(client, name()).unwrap();
    let mut hello = vec![];
    peer.write_tls(&mut hello).unwrap();
    let (early, later) = hello.split_at(100);
    far.write_all(later).await.unwrap();
    let answers = async {
        let mut answer = vec![0; 100];
        far.read_exact(&mut answer).await.unwrap();
        drop(far);
        answer
    };
    let (outcome, answer) = tokio::join!(TlsStream::accept(server, near, early), answers);
    assert_eq!(answer[0], 22, "a handshake record");
    assert!(outcome.is_err(), "the client left");
}

#[tokio::test]
async fn tickets_go_with_the_first_answer() {
    let (mut ours, mut peer) = streams(We::Serve, &TLS13, 10_000).await;
    assert!(!ours.engine.out.unsent.is_empty());
    assert!(ours.engine.out.unsent.len() <= MAX_RIDING_BYTES);
    ours.write_all(b"hello").await.unwrap();
    assert!(ours.engine.out.unsent.is_empty());
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).await.unwrap();
    let Peer::Client(peer) = peer else {
        unreachable!()
    };
    assert_eq!(peer.get_ref().1.tls13_tickets_received(), 2);
}
