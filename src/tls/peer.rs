//! Whom a client's certificate names, as texts for fields and logs. The names are as the authority
//! signed them, which may have been as the client wished: what could pass for a border is escaped.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::logic::request::Certificate;

/// Longest text of each kind; a certificate that says more is nobody's.
const MAX_TEXT_BYTES: usize = 4096;

/// What the first certificate of a chain says, while it is valid. The chain was verified, but where
/// a session resumes that was hours ago.
pub fn certificate(chain: &[CertificateDer<'_>]) -> Option<Certificate> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    if !leaf.validity().is_valid() {
        return None;
    }
    let names = leaf.subject_alternative_name().ok()?;
    let names = names.iter().flat_map(|it| &it.value.general_names);
    let subject = subject(leaf.subject());
    let names = names.filter_map(name).collect::<Vec<_>>().join(", ");
    let fits = subject.len() <= MAX_TEXT_BYTES && names.len() <= MAX_TEXT_BYTES;
    fits.then(|| Certificate {
        subject: subject.into(),
        names: names.into(),
    })
}

/// RFC 4514: the last part first.
fn subject(name: &X509Name<'_>) -> String {
    let parts = name.iter_rdn().map(|part| {
        let attributes: Vec<_> = part.iter().map(attribute).collect();
        attributes.join("+")
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    match (oid2abbrev(kind, oid_registry()), attribute.as_str()) {
        (Ok(abbreviation), Ok(value)) => format!("{abbreviation}={}", escaped(value)),
        (_, value) => {
            let bytes = value.map_or(attribute.as_slice(), str::as_bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}=#{hex}", kind.to_id_string())
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escaped(name))),
        GeneralName::URI(uri) => Some(format!("URI:{}", escaped(uri))),
        GeneralName::RFC822Name(mail) => Some(format!("email:{}", escaped(mail))),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| format!("IP:{address}")),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Into::into),
        _ => None,
    }
}

/// RFC 4514 section 2.4, and white space at the ends.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, char) in value.chars().enumerate() {
        let is_edge = (at == 0 && matches!(char, ' ' | '#')) || (at == last && char == ' ');
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => text.extend(['\\', char]),
            char if is_edge => text.extend(['\\', char]),
            char if char.is_control() => {
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    text.push_str(&format!("\\{byte:02x}"));
                }
            }
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn subject_names(adjust: impl FnOnce(&mut CertificateParams)) -> Option<String> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        certificate(&[signed.der().clone()]).map(|found| found.names.to_string())
    }

    #[test]
    fn a_ticket_makes_no_certificate_outlast_its_time() {
        assert_eq!(subject_names(|_| ()).as_deref(), Some("DNS:a.example"));
        let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2001, 1, 1);
        assert_eq!(subject_names(expired), None);
        let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(4000, 1, 1);
        assert_eq!(subject_names(early), None);
    }
}
