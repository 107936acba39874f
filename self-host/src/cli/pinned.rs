//! Connections to the server of this machine, which is known by its certificate and by nothing else: whoever signed it, and for which
//! names, is the affair of its clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::TlsConnector;

/// For so long after its file was written a server may still have the certificate of before: it looks each minute.
const SETTLING: Duration = Duration::from_mins(2);

/// What makes connections to the server that has the certificate of this file.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(super) fn connector(certificate: &Path) -> Result<TlsConnector, String> {
    let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", certificate.display());
    let written = certificate.metadata().and_then(|meta| meta.modified()).map_err(|error| shown(&error))?;
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned {
        certificate: CertificateDer::from_pem_file(certificate).map_err(|error| shown(&error))?,
        // A time to come is as good as now.
        is_settling: written.elapsed().is_ok_and(|ago| ago < SETTLING),
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| shown(&error))?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Accepts one certificate.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    is_settling: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate || self.is_settling {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
