//! The `http` check: a GET is answered 2xx or 3xx.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{ProbeError, answer};

/// Asks for the path; the head of the answer decides, its body is nobody's business.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
) -> Result<(), ProbeError> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-check\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|source| ProbeError::Broken { source })?;
    answer::read_head(stream, &mut Vec::new(), |response| match response.code {
        Some(200..=399) => Ok(()),
        status => Err(ProbeError::Status {
            status: status.unwrap_or_default(),
        }),
    })
    .await
}
