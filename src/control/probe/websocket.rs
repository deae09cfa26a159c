//! The `websocket` check: a real handshake, a ping and its pong, a Close.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::Response;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{ProbeError, answer, read_to_end};

/// Most that a server may say between its 101 and the pong.
const MAX_UNSOLICITED_BYTES: usize = 64 * 1024;

const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;
const OPCODE_PONG: u8 = 0xa;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

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
    send(stream, &masked_frame(OPCODE_PING, &payload)).await?;
    await_pong(stream, &mut read, &payload).await
}

/// Says goodbye and lets the server close the connection (RFC 6455 s7.1.1).
pub(super) async fn part(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    const NORMAL: u16 = 1000;
    if send(stream, &masked_frame(OPCODE_CLOSE, &NORMAL.to_be_bytes()))
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
    if !values("Sec-WebSocket-Accept").eq([accept_for(key).as_bytes()]) {
        return bad("Sec-WebSocket-Accept");
    }
    for unasked in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"] {
        if values(unasked).next().is_some() {
            return bad(unasked);
        }
    }
    Ok(())
}

/// Sec-WebSocket-Accept (RFC 6455 s4.2.2).
fn accept_for(key: &str) -> String {
    let hash = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// A control frame as clients send it.
fn masked_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("payloads here have 2 or 8 bytes");
    let mask = fastrand::u32(..).to_ne_bytes();
    let mut frame = vec![FIN | opcode, MASKED | length];
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// Reads frames until the pong; data that the server pushes meanwhile is passed over.
async fn await_pong(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    payload: &[u8],
) -> Result<(), ProbeError> {
    let mut start = 0;
    loop {
        match Frame::parse(&read[start..])? {
            None => answer::more(stream, read, MAX_UNSOLICITED_BYTES).await?,
            Some(Frame {
                opcode: OPCODE_PONG,
                payload: pong,
                ..
            }) if pong == payload => {
                return Ok(());
            }
            Some(Frame {
                opcode: OPCODE_CLOSE,
                ..
            }) => return Err(ProbeError::Closed),
            Some(frame) => start += frame.length,
        }
    }
}

/// A whole frame of a server's.
struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
    /// Header and payload.
    length: usize,
}

impl<'a> Frame<'a> {
    /// `None` while bytes are missing.
    fn parse(bytes: &'a [u8]) -> Result<Option<Self>, ProbeError> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        // RFC 6455 s5.1 and s5.2: servers don't mask, and no extension was agreed on.
        if second & MASKED != 0 || first & 0x70 != 0 {
            return Err(ProbeError::BadFrame);
        }
        let header = match second {
            127 => rest
                .first_chunk()
                .map(|length| (10, u64::from_be_bytes(*length))),
            126 => rest
                .first_chunk()
                .map(|length| (4, u64::from(u16::from_be_bytes(*length)))),
            &length => Some((2, u64::from(length))),
        };
        let Some((header_bytes, payload_bytes)) = header else {
            return Ok(None);
        };
        let too_long = ProbeError::TooLong {
            limit_bytes: MAX_UNSOLICITED_BYTES,
        };
        let length = usize::try_from(payload_bytes)
            .ok()
            .and_then(|payload_bytes| payload_bytes.checked_add(header_bytes))
            .filter(|&length| length <= MAX_UNSOLICITED_BYTES)
            .ok_or(too_long)?;
        let frame = bytes.get(..length);
        Ok(frame.map(|frame| Self {
            opcode: first & 0x0f,
            payload: &frame[header_bytes..],
            length,
        }))
    }
}
