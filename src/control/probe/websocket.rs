//! The `websocket` check: a real handshake, a ping and its pong, a Close.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::Response;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{ProbeError, answer, read_to_end};
use crate::logic::websocket::frame::{ControlFrame, Expected, Header, Opcode};
use crate::logic::websocket::handshake::accept_for;

/// Most that a server may say between its 101 and the pong.
const MAX_UNSOLICITED_BYTES: usize = 64 * 1024;

/// Opens a WebSocket and pings through it.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
) -> Result<(), ProbeError> {
    let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-check\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    send(stream, request.as_bytes()).await?;
    let mut read = Vec::new();
    answer::read_head(stream, &mut read, |response| {
        check_handshake(response, &key)
    })
    .await?;

    let payload = fastrand::u64(..).to_ne_bytes();
    send(stream, &masked(Opcode::Ping, &payload)).await?;
    await_pong(stream, &mut read, &payload).await
}

/// Says goodbye and lets the server close the connection (RFC 6455 s7.1.1).
pub(super) async fn part(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    const NORMAL: u16 = 1000;
    if send(stream, &masked(Opcode::Close, &NORMAL.to_be_bytes()))
        .await
        .is_ok()
    {
        read_to_end(stream).await;
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), ProbeError> {
    stream
        .write_all(bytes)
        .await
        .map_err(|source| ProbeError::Broken { source })
}

/// RFC 6455 s4.1, what a client must check; nothing was offered, so nothing may be selected.
fn check_handshake(response: &Response<'_, '_>, key: &str) -> Result<(), ProbeError> {
    if response.code != Some(101) {
        return Err(ProbeError::Status {
            status: response.code.unwrap_or_default(),
        });
    }
    let bad = |field| Err(ProbeError::BadHandshake { field });
    let values = |name: &'static str| {
        let fields = response
            .headers
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value.trim_ascii())
    };
    let mut upgrades = values("Upgrade");
    if !upgrades
        .next()
        .is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
        || upgrades.next().is_some()
    {
        return bad("Upgrade");
    }
    let mut options = values("Connection").flat_map(|value| value.split(|&byte| byte == b','));
    if !options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
        return bad("Connection");
    }
    if !values("Sec-WebSocket-Accept").eq([accept_for(key.as_bytes())]) {
        return bad("Sec-WebSocket-Accept");
    }
    for unasked in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"] {
        if values(unasked).next().is_some() {
            return bad(unasked);
        }
    }
    Ok(())
}

/// A control frame as clients send it.
fn masked(opcode: Opcode, payload: &[u8]) -> ControlFrame {
    ControlFrame::new(opcode, payload, Some(fastrand::u32(..).to_ne_bytes()))
}

/// Reads frames until the pong; data that the server pushes meanwhile is passed over.
async fn await_pong(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    expected_payload: &[u8],
) -> Result<(), ProbeError> {
    let mut start = 0;
    let mut expected = Expected {
        masked: false,
        rsv1: false,
        in_message: false,
    };
    loop {
        let Some((header, payload)) = whole_frame(&read[start..], expected)? else {
            answer::more(stream, read, MAX_UNSOLICITED_BYTES).await?;
            continue;
        };
        match header.opcode {
            Opcode::Pong if read[start..][payload.clone()] == *expected_payload => return Ok(()),
            Opcode::Close => return Err(ProbeError::Closed),
            Opcode::Ping | Opcode::Pong => {}
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                expected.in_message = !header.fin;
            }
        }
        start += payload.end;
    }
}

/// The header of the frame that `bytes` begin with, and where its payload is; `None` while bytes
/// are missing.
fn whole_frame(
    bytes: &[u8],
    expected: Expected,
) -> Result<Option<(Header, Range<usize>)>, ProbeError> {
    let read = Header::read(bytes, expected).map_err(|source| ProbeError::BadFrame { source })?;
    let Some((header, start)) = read else {
        return Ok(None);
    };
    let end = usize::try_from(header.payload_len)
        .ok()
        .and_then(|length| length.checked_add(start))
        .filter(|&end| end <= MAX_UNSOLICITED_BYTES)
        .ok_or(ProbeError::TooLong {
            limit_bytes: MAX_UNSOLICITED_BYTES,
        })?;
    Ok((end <= bytes.len()).then_some((header, start..end)))
}
