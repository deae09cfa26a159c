//! Field lines as they stand on the wire.

use super::Framing;

/// Appends one field line; name and value are fit for one.
pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends the framing that was found good, so that the next reader sees the body we mean.
pub(super) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            write_field(out, b"Content-Length", length.to_string().as_bytes());
        }
        Framing::Chunked => write_field(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}
