//! What can be wrong with a message's head; each text is one line a client may read.

use thiserror::Error;

/// A fault of grammar or meaning in a request or response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Malformed {
    #[error("the head is larger than allowed")]
    HeadTooLarge,
    #[error("the head has more fields than allowed")]
    TooManyFields,
    #[error("a line ends in LF without CR")]
    BareLf,
    #[error("a CR stands without LF")]
    BareCr,
    #[error("a NUL byte stands in the head")]
    Nul,
    #[error("too many empty lines before the message")]
    EmptyLines,
    #[error("the first line is not HTTP")]
    StartLine,
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    #[error("a field name has a character that is not allowed")]
    FieldName,
    #[error("a field value has a character that is not allowed")]
    FieldValue,

    #[error("the method is not an HTTP method")]
    Method,
    #[error("the request target has a character or form that is not allowed")]
    Target,
    #[error("the path has a character that is not allowed")]
    PathCharacter,
    #[error("the path has a percent sign without two hexadecimal digits")]
    PathEscape,
    #[error("the path has an escaped slash, backslash or NUL")]
    PathHiddenSlash,
    #[error("the path has a dot segment")]
    PathDotSegment,
    #[error("the path has an empty segment")]
    PathEmptySegment,

    #[error("Host is missing")]
    HostMissing,
    #[error("Host stands more than once")]
    HostTwice,
    #[error("Host is not a host and port")]
    HostSyntax,
    #[error("Host and the request target disagree")]
    HostMismatch,

    #[error("Content-Length is not one decimal number")]
    ContentLength,
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    #[error("Transfer-Encoding and Content-Length stand together")]
    TwoLengths,
    #[error("Transfer-Encoding stands in an HTTP/1.0 message")]
    TransferEncodingInHttp10,
    #[error("a framing field is spelled with an underscore")]
    FramingTwin,

    #[error("an upgrade needs HTTP/1.1")]
    UpgradeVersion,
    #[error("an upgrade to websocket needs Connection: upgrade")]
    UpgradeConnection,
    #[error("an upgrade must not announce a body")]
    UpgradeBody,
    #[error("Sec-WebSocket-Key is missing")]
    KeyMissing,
    #[error("Sec-WebSocket-Key stands more than once")]
    KeyTwice,
    #[error("Sec-WebSocket-Key is not 16 bytes of base64")]
    KeySyntax,
    #[error("Sec-WebSocket-Protocol is not a list of different tokens")]
    Protocols,
    #[error("Sec-WebSocket-Extensions is not a list of extensions")]
    Extensions,
}

impl From<httparse::Error> for Malformed {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::FieldName,
            httparse::Error::HeaderValue => Self::FieldValue,
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
            httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
                Self::StartLine
            }
        }
    }
}
