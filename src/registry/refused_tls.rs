//! What to do about a TLS handshake that failed, in the words of `hosts.toml`.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// What would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The authority of the certificate is not known here.
    NameAuthority,
    /// The certificate is not for this host, or not for this time.
    OtherCertificate,
    /// The host wants a certificate of ours, or another one.
    ShowCertificate,
    /// The host does not speak TLS.
    PlainHttp,
    /// The host speaks something, but nothing that we do.
    NewerTls,
}

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NameAuthority => {
                "its certificate is of an unknown authority: name the authority's file as ca in hosts.toml, or set \
                 skip_verify = true to check nothing"
            }
            Self::OtherCertificate => {
                "its certificate does not hold: renew it or ask the host by a name that it is for; \
                 skip_verify = true in hosts.toml checks nothing"
            }
            Self::ShowCertificate => {
                "it wants a certificate from us: name one with its key as client in hosts.toml"
            }
            Self::PlainHttp => {
                "it does not speak TLS: if plain HTTP is meant, write http:// in hosts.toml, or the host into \
                 registry.plain_http"
            }
            Self::NewerTls => "it does not offer TLS 1.2 or 1.3",
        })
    }
}

/// What to do about `error`, if it is of a TLS handshake and something is known to help.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<Advice> {
    Some(match tls_error(error)? {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Advice::NameAuthority
            }
            // A certificate that is its own authority, and was not made to be one.
            CertificateError::Other(_) => Advice::NameAuthority,
            _ => Advice::OtherCertificate,
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown => Advice::ShowCertificate,
            AlertDescription::ProtocolVersion => Advice::NewerTls,
            _ => return None,
        },
        rustls::Error::InvalidMessage(_) => Advice::PlainHttp,
        rustls::Error::PeerIncompatible(_) => Advice::NewerTls,
        _ => return None,
    })
}

/// The error of the TLS library somewhere below. An `io::Error` shows what it wraps by `get_ref`, not as its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .and_then(|inner| tls_error(inner));
    wrapped.or_else(|| tls_error(error.source()?))
}
