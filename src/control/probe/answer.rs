//! Reads the head of an HTTP/1.1 response within a bound.

use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::ProbeError;

/// Room for interim responses, fields and then some.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;

/// Lets `judge` see the final response's head; `read` keeps the bytes that came after it.
pub(super) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    judge: impl Fn(&Response<'_, '_>) -> Result<(), ProbeError>,
) -> Result<(), ProbeError> {
    let mut head_bytes = 0;
    loop {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = Response::new(&mut fields);
        let parsed = response
            .parse(read)
            .map_err(|source| ProbeError::NotHttp { source })?;
        match (parsed, response.code) {
            (Status::Partial, _) => {
                more(stream, read, MAX_HEAD_BYTES.saturating_sub(head_bytes)).await?;
            }
            // RFC 9110 s15.2: any number of interim responses may precede the final one.
            (Status::Complete(length), Some(100 | 102..=199)) => {
                head_bytes += length;
                read.drain(..length);
            }
            (Status::Complete(length), _) => {
                judge(&response)?;
                read.drain(..length);
                return Ok(());
            }
        }
    }
}

/// Appends what the stream has, as long as `read` holds less than the limit.
pub(super) async fn more(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    limit_bytes: usize,
) -> Result<(), ProbeError> {
    const CHUNK_BYTES: usize = 4096;
    if read.len() >= limit_bytes {
        return Err(ProbeError::TooLong { limit_bytes });
    }
    read.reserve(CHUNK_BYTES);
    match stream.read_buf(read).await {
        Ok(0) => Err(ProbeError::Ended),
        Ok(_) => Ok(()),
        Err(source) => Err(ProbeError::Broken { source }),
    }
}
