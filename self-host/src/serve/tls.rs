//! TLS with a certificate from files, which are read again when they change (self-host.md 4.4).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::fronts::H2;

/// Permission of everybody else to read a file.
const READ_BY_OTHERS: u32 = 0o004;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// Everybody may read the key.
    #[error("everybody may read the key {0}: chmod 600")]
    KeyIsOpen(PathBuf),
    /// A file cannot be read.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Certificate and key do not belong together, or are of no use.
    #[error("the certificate {path}: {cause}")]
    Pair {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
}

/// The pair that is served with.
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    /// When the files were written that are in use.
    written: Mutex<[Option<SystemTime>; 2]>,
}

impl Tls {
    /// Reads the pair.
    pub(crate) fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let written = [cert, key].map(when_written);
        let current = RwLock::new(load(cert, key)?);
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current, written: Mutex::new(written) })
    }

    /// What new connections are accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads the pair again if a file was written since. True: it was, and the new pair is in use. A bad pair changes nothing,
    /// and is tried again when it is written again.
    pub(super) fn refresh(&self) -> Result<bool, TlsError> {
        let now = [&self.cert, &self.key].map(|path| when_written(path));
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == now {
            return Ok(false);
        }
        *written = now;
        let fresh = load(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }
}

fn when_written(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let file = |path: &Path, cause: String| TlsError::File { path: path.to_owned(), cause };
    let mode = key.metadata().map_err(|cause| file(key, cause.to_string()))?.permissions().mode();
    if mode & READ_BY_OTHERS != 0 {
        return Err(TlsError::KeyIsOpen(key.to_owned()));
    }
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|cause| file(cert, cause.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| file(key, cause.to_string()))?;
    let pair = |cause| TlsError::Pair { path: cert.to_owned(), cause };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(pair)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new pair that signs itself.
    fn write(folder: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        (cert, key)
    }

    #[test]
    fn a_key_is_private_and_a_bad_pair_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = write(folder.path());
        let tls = Tls::open(&cert, &key).unwrap();
        assert!(!tls.refresh().unwrap(), "nothing has changed");
        std::fs::write(&cert, "no certificate").unwrap();
        assert!(tls.refresh().is_err());
        assert!(!tls.refresh().unwrap(), "told once");
        write(folder.path());
        assert!(tls.refresh().unwrap());
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Tls::open(&cert, &key), Err(TlsError::KeyIsOpen(_))));
        assert!(matches!(Tls::open(&cert, Path::new("/nowhere")), Err(TlsError::File { .. })));
    }
}
