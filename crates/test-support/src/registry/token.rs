use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::log::Request;
use super::service::{Service, User};
use super::{Certificate, ClientCertificate, Fault};
use crate::payload::{Artifact, Content, Image};

/// A registry in the test's own process, with token authentication as quay.io does it, which misbehaves when told to.
///
/// Valid credentials get a token even for repositories they may not pull from; it is good for nothing there. A CDN at
/// a second port, if wanted, serves the blobs and answers 400 to anybody who shows it an `Authorization`.
#[derive(Debug)]
pub struct TokenRegistry {
    service: Arc<Service>,
    servers: Vec<JoinHandle<()>>,
}

/// A [`TokenRegistry`] to be started.
#[derive(Debug, Default)]
pub struct TokenRegistryBuilder {
    pub(super) users: Vec<User>,
    pub(super) identity_tokens: IdentityTokens,
    pub(super) anonymous: bool,
    pub(super) open_ping: bool,
    pub(super) cdn: Option<Links>,
    pub(super) no_ranges: bool,
    pub(super) certificate: Option<Certificate>,
    pub(super) client_ca: Option<CertificateDer<'static>>,
    pub(super) realm: Option<String>,
}

/// For how long links to the CDN are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Lasting,
    /// For one request.
    Expiring,
}

/// What users have got at a login.
#[derive(Debug, Default)]
pub(super) struct IdentityTokens {
    /// The names of users, by token.
    pub(super) users: HashMap<String, String>,
    /// Whether another one is given in each exchange.
    pub(super) change: bool,
}

impl TokenRegistryBuilder {
    /// Adds somebody who may pull from everywhere.
    #[must_use]
    pub fn user(self, name: &str, password: &str) -> Self {
        self.user_of(name, password, &[""])
    }

    /// Adds somebody who may pull from repositories that begin so.
    #[must_use]
    pub fn user_of(mut self, name: &str, password: &str, repositories: &[&str]) -> Self {
        let repositories = repositories.iter().map(|&repository| repository.to_owned()).collect();
        self.users.push(User { name: name.to_owned(), password: password.to_owned(), repositories });
        self
    }

    /// Lets a user be introduced by an identity token instead of the password.
    #[must_use]
    pub fn identity_token(mut self, user: &str, token: &str) -> Self {
        self.identity_tokens.users.insert(token.to_owned(), user.to_owned());
        self
    }

    /// Lets every identity token be good for one exchange only, in which another one is given.
    #[must_use]
    pub fn changing_identity_tokens(mut self) -> Self {
        self.identity_tokens.change = true;
        self
    }

    /// Lets anybody pull. They need a token all the same.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { anonymous: true, ..self }
    }

    /// Asks for nothing at `/v2/`, only when there is something to get.
    #[must_use]
    pub fn open_ping(self) -> Self {
        Self { open_ping: true, ..self }
    }

    /// Redirects blobs to a CDN.
    #[must_use]
    pub fn cdn(self) -> Self {
        Self { cdn: Some(Links::Lasting), ..self }
    }

    /// Redirects blobs to a CDN by links that are good for one request.
    #[must_use]
    pub fn cdn_with_expiring_links(self) -> Self {
        Self { cdn: Some(Links::Expiring), ..self }
    }

    /// Knows no ranges: sends every blob from its beginning.
    #[must_use]
    pub fn no_ranges(self) -> Self {
        Self { no_ranges: true, ..self }
    }

    /// Speaks TLS, at the CDN too.
    #[must_use]
    pub fn tls(self) -> Self {
        self.tls_by(Certificate::generate())
    }

    /// The same with this certificate.
    #[must_use]
    pub fn tls_by(self, certificate: Certificate) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    /// Speaks TLS, and only with those who have this certificate or another of its authority.
    #[must_use]
    pub fn tls_with_clients(self, client: &ClientCertificate) -> Self {
        Self { client_ca: Some(client.authority()), ..self.tls() }
    }

    /// Sends clients to some other token server.
    #[must_use]
    pub fn realm(self, url: &str) -> Self {
        Self { realm: Some(url.to_owned()), ..self }
    }

    /// Starts it, on free ports.
    pub async fn start(self) -> TokenRegistry {
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.expect("there is a free port") };
        let address = |listener: &TcpListener| listener.local_addr().expect("it is bound").to_string();
        let listener = listen().await;
        let cdn = if self.cdn.is_some() { Some(listen().await) } else { None };
        let service = Arc::new(Service::new(self, address(&listener), cdn.as_ref().map(address)));

        let registry = Router::new()
            .fallback(async |State(service): State<Arc<Service>>, request: HttpRequest| {
                const LONGEST_FORM: usize = 64 << 10;
                let (head, body) = request.into_parts();
                let form = to_bytes(body, LONGEST_FORM).await.unwrap_or_default();
                service.registry(&HttpRequest::from_parts(head, Body::empty()), &form)
            })
            .with_state(Arc::clone(&service));
        let storage = Router::new()
            .fallback(async |State(service): State<Arc<Service>>, request: HttpRequest| {
                service.storage(&request)
            })
            .with_state(Arc::clone(&service));
        let mut servers = vec![serve(&service, listener, registry)];
        servers.extend(cdn.map(|listener| serve(&service, listener, storage)));
        TokenRegistry { service, servers }
    }
}

fn serve(service: &Service, listener: TcpListener, router: Router) -> JoinHandle<()> {
    const ENDLESS: &str = "serving never ends";
    match service.certificate() {
        None => tokio::spawn(async { axum::serve(listener, router).await.expect(ENDLESS) }),
        Some(certificate) => {
            let listener = certificate.listener_for(listener, service.client_ca());
            tokio::spawn(async { axum::serve(listener, router).await.expect(ENDLESS) })
        }
    }
}

impl TokenRegistry {
    /// A registry without users, TLS or CDN, to be started.
    pub fn builder() -> TokenRegistryBuilder {
        TokenRegistryBuilder::default()
    }

    /// Where it is: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        self.service.address()
    }

    /// Where its CDN is.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn cdn_address(&self) -> &str {
        self.service.cdn_address().expect("it was started with a CDN")
    }

    /// Who is to be trusted for TLS with it.
    ///
    /// # Panics
    ///
    /// If it speaks no TLS.
    pub fn ca_pem(&self) -> &str {
        &self.service.certificate().expect("it was started with TLS").ca_pem
    }

    /// Stores an image or a list of images, under its digests and the tag.
    pub fn publish(&self, repository: &str, tag: &str, artifact: &Artifact) {
        let manifests = artifact.manifests();
        let (media_type, tagged) = manifests[0];
        self.service.store_manifest(repository, tag, media_type, tagged);
        for (media_type, manifest) in manifests {
            self.service.store_manifest(repository, &manifest.digest(), media_type, manifest);
        }
        artifact.images().iter().flat_map(Image::blobs).for_each(|blob| self.service.store_blob(blob));
    }

    /// Stores any bytes as the manifest of a tag.
    pub fn publish_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        self.service.store_manifest(repository, tag, media_type, &bytes.to_vec().into());
    }

    /// Stores a blob, as part of every repository.
    pub fn publish_blob(&self, blob: &Content) {
        self.service.store_blob(blob);
    }

    /// Lets every answer to a path that ends so go wrong: a digest, a tag, `/token`, `/v2/`.
    pub fn inject(&self, path_end: &str, fault: Fault) {
        self.service.faults.inject(path_end, fault);
    }

    /// Lets the next answer to a path that ends so go wrong. Several such faults happen one after the other.
    pub fn inject_once(&self, path_end: &str, fault: Fault) {
        self.service.faults.inject_once(path_end, fault);
    }

    /// Lets nothing go wrong any more.
    pub fn heal(&self) {
        self.service.faults.clear();
    }

    /// A token for pulling from a repository.
    pub fn token_for(&self, repository: &str) -> String {
        self.service.issue(Some(repository))
    }

    /// Every token that is valid by now, identity tokens included, and every password: what no log may hold.
    pub fn secrets(&self) -> Vec<String> {
        self.service.secrets()
    }

    /// Makes all tokens invalid, as if they had expired.
    pub fn revoke_tokens(&self) {
        self.service.revoke_tokens();
    }

    /// Gives a user another password. Tokens they have got before stay valid.
    pub fn change_password(&self, user: &str, password: &str) {
        self.service.change_password(user, password);
    }

    /// All requests in the order they came, those to the CDN included.
    pub fn requests(&self) -> Vec<Request> {
        self.service.log.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.service.log.clear();
    }
}

impl Drop for TokenRegistry {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}
