//! TLS of a listener: who it says it is, and what it makes of a client that does not speak TLS.

mod certificate;
mod policy;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::socket::Socket;
use certificate::Certificate;

pub use certificate::InvalidTls;
pub use policy::{CipherSuites, InvalidTlsVersion, TlsPolicy, TlsVersion};

/// What the predecessor's library says to browsers on the wrong port.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How long such a client may take to read it.
const NOT_TLS_TIME: Duration = Duration::from_secs(2);

/// How a listener speaks TLS. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    certificate: Arc<Certificate>,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads a chain of certificates and the key of the first, both PEM, and goes on looking after both files: what is
    /// put into them later is shown to clients that connect later.
    ///
    /// # Panics
    ///
    /// If the process has no crypto provider installed.
    pub fn load(certificate: &Path, key: &Path, policy: &TlsPolicy) -> Result<Self, InvalidTls> {
        let provider = CryptoProvider::get_default().expect("the front door installs a crypto provider");
        let provider = Arc::new(policy.restrict((**provider).clone()));
        let certificate = Arc::new(Certificate::load(certificate, key, Arc::clone(&provider))?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(policy.versions())
            .map_err(InvalidTls::Policy)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificate>::clone(&certificate));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Comes to an understanding with a client. `None` if it is one that does not speak TLS, and has been told so.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        activity: &Arc<Activity>,
    ) -> io::Result<Option<TlsStream<Socket<TcpStream>>>> {
        let mut first = [0];
        // TLS begins with a handshake record, whose type is 22; HTTP with the capital letters of a method.
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            tokio::time::timeout(NOT_TLS_TIME, refuse(stream)).await??;
            return Ok(None);
        }
        self.certificate.refresh().await;
        self.acceptor.accept(Socket::new(stream, Arc::clone(activity))).await.map(Some)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Answers whatever is asked. What comes is read, too: with bytes unread the system would drop the answer.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(NOT_TLS).await?;
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
