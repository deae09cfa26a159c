//! Field lines as they stand on the wire.

use super::Framing;

/// Appends one field line; name and value are fit for one.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Puts the framing that was found good, so that the next reader sees the body we mean.
pub(super) fn put_framing(framing: Framing, mut put: impl FnMut(&[u8], &[u8])) {
    match framing {
        Framing::Length(length) => put(b"Content-Length", length.to_string().as_bytes()),
        Framing::Chunked => put(b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}
