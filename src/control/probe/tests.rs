//! Probes against servers in this process, well-behaved and otherwise.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::*;

/// Long enough never to decide a test that does not mean it to.
const AMPLE: Duration = Duration::from_secs(30);

/// Runs one probe against a server that handles its connection with `serve`.
async fn probe<F: Future<Output = ()> + Send + 'static>(
    kind: ProbeKind,
    timeout: Duration,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Result<(), ProbeError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let mut server = JoinSet::new();
    server.spawn(async move { serve(listener.accept().await.unwrap().0).await });
    let host = Arc::from("a.example");
    Probe {
        kind,
        address,
        source: None,
        proxy_protocol: None,
        tls: None,
        host,
        path: Arc::from("/ws"),
        timeout,
    }
    .run()
    .await
}

/// Reads a request's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A server that reads the head, answers these bytes and closes.
async fn answered(kind: ProbeKind, bytes: impl Into<Vec<u8>>) -> Result<(), ProbeError> {
    let bytes = bytes.into();
    probe(kind, AMPLE, |mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        read_to_end(&mut stream).await;
    })
    .await
}

/// A server that completes the handshake, says these bytes and then handles what comes.
async fn upgraded<F: Future<Output = ()> + Send + 'static>(
    then: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Result<(), ProbeError> {
    probe(ProbeKind::WebSocket, AMPLE, |mut stream| async move {
        let head = head(&mut stream).await;
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        stream
            .write_all(switching(&accept).as_bytes())
            .await
            .unwrap();
        then(stream).await;
    })
    .await
}

fn switching(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
         Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The masked frame of a client's that comes next, unmasked.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await.unwrap();
    let mut payload = vec![0; usize::from(header[1] & 0x7f)];
    stream.read_exact(&mut payload).await.unwrap();
    assert_ne!(header[1] & 0x80, 0, "client frames are masked");
    for (byte, mask) in payload.iter_mut().zip(header[2..].iter().cycle()) {
        *byte ^= mask;
    }
    (header[0], payload)
}

async fn pong(stream: &mut TcpStream) {
    let (opcode, payload) = frame(stream).await;
    assert_eq!(opcode, 0x89);
    stream
        .write_all(&[0x8a, u8::try_from(payload.len()).unwrap()])
        .await
        .unwrap();
    stream.write_all(&payload).await.unwrap();
}

// tcp

#[tokio::test]
async fn a_server_that_accepts_passes_the_tcp_check() {
    probe(ProbeKind::Tcp, AMPLE, |_| async {}).await.unwrap();
}

#[tokio::test]
async fn a_port_that_nobody_serves_fails_every_check() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = Endpoint::from(listener.local_addr().unwrap());
    drop(listener);
    for kind in [ProbeKind::Tcp, ProbeKind::Http, ProbeKind::WebSocket] {
        let (host, path) = (Arc::from("a"), Arc::from("/"));
        let result = Probe {
            kind,
            address: address.clone(),
            source: None,
            proxy_protocol: None,
            tls: None,
            host,
            path,
            timeout: AMPLE,
        }
        .run()
        .await;
        let Err(ProbeError::Connect { source }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    }
}

// http

#[tokio::test]
async fn the_http_check_asks_for_its_path_and_host() {
    let (asked, question) = oneshot::channel();
    probe(ProbeKind::Http, AMPLE, |mut stream| async move {
        asked.send(head(&mut stream).await).unwrap();
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    })
    .await
    .unwrap();
    let question = question.await.unwrap();
    assert!(
        question.starts_with("GET /ws HTTP/1.1\r\nHost: a.example\r\n"),
        "{question}"
    );
    assert!(question.contains("\r\nConnection: close\r\n"), "{question}");
}

#[tokio::test]
async fn statuses_from_200_to_399_pass_the_http_check() {
    for (status, passes) in [
        (200, true),
        (204, true),
        (302, true),
        (399, true),
        (101, false),
    ]
    .into_iter()
    .chain([(400, false), (404, false), (500, false), (503, false)])
    {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
        let result = answered(ProbeKind::Http, answer).await;
        assert_eq!(result.is_ok(), passes, "{status}: {result:?}");
    }
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    answered(ProbeKind::Http, answer).await.unwrap();
    let result = answered(ProbeKind::Http, "HTTP/1.1 100 C\r\n\r\n".repeat(10_000)).await;
    assert!(
        matches!(result, Err(ProbeError::TooLong { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    probe(ProbeKind::Http, AMPLE, |mut stream| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_change_the_verdict() {
    probe(
        ProbeKind::Http,
        Duration::from_millis(100),
        |mut stream| async move {
            head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                .await
                .unwrap();
            read_to_end(&mut stream).await;
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_head_without_end_fails() {
    let answer = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(1 << 20));
    let result = answered(ProbeKind::Http, answer).await;
    assert!(
        matches!(result, Err(ProbeError::TooLong { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn another_protocol_fails() {
    let result = answered(ProbeKind::Http, "SSH-2.0-x\r\n").await;
    assert!(
        matches!(result, Err(ProbeError::NotHttp { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn silence_fails_at_the_timeout() {
    let timeout = Duration::from_millis(50);
    for kind in [ProbeKind::Http, ProbeKind::WebSocket] {
        let result = probe(kind, timeout, |mut stream| async move {
            read_to_end(&mut stream).await;
        });
        let result = result.await;
        assert!(
            matches!(result, Err(ProbeError::TimedOut { .. })),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn an_end_before_the_answer_fails() {
    for kind in [ProbeKind::Http, ProbeKind::WebSocket] {
        for answer in ["", "HTTP/1.1 2"] {
            let result = answered(kind, answer).await;
            assert!(matches!(result, Err(ProbeError::Ended)), "{result:?}");
        }
    }
}

// websocket

#[tokio::test]
async fn the_websocket_check_pings_and_closes_cleanly() {
    let (said, last_words) = oneshot::channel();
    upgraded(|mut stream| async move {
        pong(&mut stream).await;
        said.send(frame(&mut stream).await).unwrap();
    })
    .await
    .unwrap();
    assert_eq!(
        last_words.await.unwrap(),
        (0x88, 1000u16.to_be_bytes().to_vec())
    );
}

#[tokio::test]
async fn a_real_websocket_server_passes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let server = tokio::task::spawn_blocking(move || {
        let stream = listener.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let (stream, _) = stream.accept().unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send("welcome".into()).unwrap();
        while socket.read().is_ok() {}
    });
    let (host, path) = (Arc::from("a"), Arc::from("/"));
    Probe {
        kind: ProbeKind::WebSocket,
        address,
        source: None,
        proxy_protocol: None,
        tls: None,
        host,
        path,
        timeout: AMPLE,
    }
    .run()
    .await
    .unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn what_a_server_pushes_before_the_pong_is_passed_over() {
    upgraded(|mut stream| async move {
        let long = [&[0x82, 126, 0x03, 0xe8][..], &[7; 1000]].concat();
        for push in [
            &b"\x81\x02hi"[..],
            b"\x02\x00",
            b"\x80\x00",
            b"\x89\x01x",
            b"\x8a\x00",
            &long,
        ] {
            stream.write_all(push).await.unwrap();
        }
        pong(&mut stream).await;
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn pushing_without_end_instead_of_the_pong_fails() {
    let endless =
        upgraded(
            |mut stream| async move { while stream.write_all(&[0x82, 2, 0, 0]).await.is_ok() {} },
        );
    let result = endless.await;
    assert!(
        matches!(result, Err(ProbeError::TooLong { .. })),
        "{result:?}"
    );

    let enormous = upgraded(|mut stream| async move {
        stream
            .write_all(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")
            .await
            .unwrap();
        read_to_end(&mut stream).await;
    });
    let result = enormous.await;
    assert!(
        matches!(result, Err(ProbeError::TooLong { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_close_instead_of_the_pong_fails() {
    let result = upgraded(|mut stream| async move {
        stream.write_all(b"\x88\x02\x03\xe9").await.unwrap();
        read_to_end(&mut stream).await;
    });
    let result = result.await;
    assert!(matches!(result, Err(ProbeError::Closed)), "{result:?}");
}

#[tokio::test]
async fn frames_that_no_server_may_send_fail() {
    for bytes in [
        &b"\x8a\x80\0\0\0\0"[..],
        b"\xca\x00",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let result = upgraded(move |mut stream| async move {
            stream.write_all(bytes).await.unwrap();
            read_to_end(&mut stream).await;
        });
        let result = result.await;
        assert!(
            matches!(result, Err(ProbeError::BadFrame { .. })),
            "{bytes:x?}: {result:?}"
        );
    }
}

#[tokio::test]
async fn a_101_that_is_wrong_in_any_field_fails() {
    let good = switching("{accept}");
    for (field, answer) in [
        (
            "Sec-WebSocket-Accept",
            good.replace("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ),
        (
            "Sec-WebSocket-Accept",
            good.replace("Sec-WebSocket-Accept", "X"),
        ),
        (
            "Upgrade",
            good.replace("Upgrade: WebSocket", "Upgrade: foo"),
        ),
        ("Upgrade", good.replace("Upgrade: WebSocket\r\n", "")),
        (
            "Connection",
            good.replace("keep-alive, upgrade", "keep-alive"),
        ),
    ] {
        let result = answered(ProbeKind::WebSocket, answer).await;
        let Err(ProbeError::BadHandshake { field: found }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(found, field);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_101_fails_the_websocket_check() {
    for status in [200, 302, 400, 426, 503] {
        let result = answered(ProbeKind::WebSocket, format!("HTTP/1.1 {status} X\r\n\r\n")).await;
        let Err(ProbeError::Status { status: found }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(found, status);
    }
}
