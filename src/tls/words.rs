//! What failed in a TLS handshake, told for whoever has to mend it.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// A failed handshake with a server, in one line.
#[derive(Debug)]
pub struct InWords<'a>(pub &'a io::Error);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match cause(self.0) {
            Some(Error::InvalidCertificate(fault)) => certificate(fault, f),
            Some(Error::AlertReceived(alert)) => refusal(*alert, f),
            Some(Error::InvalidMessage(_)) => f.write_str("it does not speak TLS"),
            Some(Error::PeerIncompatible(_)) => f.write_str("no TLS version or cipher in common"),
            None if self.0.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("it closed the connection (does it speak TLS?)")
            }
            _ => self.0.fmt(f),
        }
    }
}

/// Whether the peer spoke something else.
pub fn is_no_tls(error: &io::Error) -> bool {
    let fault = cause(error);
    matches!(
        fault,
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn certificate(fault: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match fault {
        // A stranger may call itself as the authority does.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => f.write_str(
            "its certificate leads to no trusted root (write ca = \"FILE\" with its authority)",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            f.write_str("its certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            f.write_str("its certificate is not valid yet")
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let (expected, presented) = (expected.to_str(), presented.join(", "));
            write!(
                f,
                "its certificate is not for {expected} but for {presented} (write server_name)"
            )
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            f.write_str("its certificate is an authority's own (issue one with CA:FALSE)")
        }
        fault => write!(f, "its certificate is not good: {fault}"),
    }
}

/// What the server says is wrong with us.
fn refusal(alert: AlertDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            f.write_str("it refuses: no TLS version or cipher in common")
        }
        AlertDescription::CertificateRequired => {
            f.write_str("it wants a certificate of ours (write client_cert and client_key)")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => {
            write!(f, "it refuses our certificate: alert {alert:?}")
        }
        AlertDescription::UnrecognisedName => {
            f.write_str("it does not know the name it is asked for (write server_name)")
        }
        alert => write!(f, "it refuses: alert {alert:?}"),
    }
}
