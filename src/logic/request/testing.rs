//! Messages from text, for the tests of this folder's neighbours.

use bytes::Bytes;

use super::head::head_end;
use super::{Fields, Malformed, Request, RequestHead, ResponseHead};
use crate::logic::refusal::Refusal;

/// Lines as they stand on the wire: indentation and empty lines gone, CRLF behind each.
pub(crate) fn crlf(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// The head of a request.
pub(crate) fn request_head(text: impl AsRef<[u8]>) -> Result<RequestHead, Malformed> {
    RequestHead::parse(whole_head(text.as_ref())?, 100)
}

/// A request, checked.
pub(crate) fn request(text: impl AsRef<[u8]>) -> Result<Request, Refusal> {
    Request::check(request_head(text)?)
}

/// The head of a response.
pub(crate) fn response_head(text: impl AsRef<[u8]>) -> Result<ResponseHead, Malformed> {
    ResponseHead::parse(whole_head(text.as_ref())?, 100)
}

/// Fields from their lines.
pub(crate) fn fields(lines: &str) -> Fields {
    request_head(format!("GET / HTTP/1.1\r\n{lines}\r\n"))
        .unwrap()
        .fields()
        .clone()
}

fn whole_head(text: &[u8]) -> Result<Bytes, Malformed> {
    let end = head_end(text, 0, 16 * 1024)?.expect("the text holds a whole head");
    Ok(Bytes::copy_from_slice(&text[..end]))
}
