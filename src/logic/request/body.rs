//! Follows a message's body through a stream, so that it can be passed on as it comes.

use thiserror::Error;

/// How a body breaks its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum BodyFault {
    #[error("the stream ended inside the body")]
    Cut,
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    #[error("a chunk extension is malformed")]
    ChunkExtension,
    #[error("a chunk does not end where it says")]
    ChunkEnd,
    #[error("a trailer field is malformed")]
    Trailer,
    #[error("chunk extensions or trailers are larger than allowed")]
    TooLarge,
}
