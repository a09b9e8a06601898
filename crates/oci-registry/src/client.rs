use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

use crate::auth::{Access, Authenticator};
use crate::error::Subject;
use crate::excerpt::Excerpt;
use crate::reply::Reply;
use crate::transport::Transport;
use crate::{
    Blob, Descriptor, Digest, Error, ImageConfig, ImageManifest, Manifest, Mirrors, PullSecret, Reference,
    RegistryHost, Retry, disk, media_type,
};

/// What a [`Registry`] may do, and with which credentials.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who we are to which registry.
    pub credentials: PullSecret,
    /// Where images lie beside, or instead of, where their names say.
    pub mirrors: Mirrors,
    /// Certificates trusted beside the system's, as a bundle of PEM.
    pub trusted_ca_pem: Option<Vec<u8>>,
    /// Where TLS is not verified and plain HTTP is spoken if there is no TLS. Holds for CDNs and token servers too:
    /// a registry's being listed says nothing of where it redirects to.
    pub insecure: BTreeSet<RegistryHost>,
    /// Sent with every request.
    pub user_agent: String,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a peer may be silent, before and within an answer. An answer as a whole may take any time.
    pub read_timeout: Duration,
    /// What is done about hiccups.
    pub retry: Retry,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            credentials: PullSecret::default(),
            mirrors: Mirrors::default(),
            trusted_ca_pem: None,
            insecure: BTreeSet::new(),
            user_agent: concat!("oci-registry/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            retry: Retry::default(),
        }
    }
}

/// A client for all registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    transport: Transport,
    authenticator: Authenticator,
    retry: Retry,
}

impl Registry {
    /// Makes a client, and no connection yet. The process must have installed a rustls crypto provider before.
    pub fn new(config: Config) -> Result<Self, Error> {
        let transport = Transport::new(&config)?;
        let authenticator = Authenticator::new(config.credentials);
        Ok(Self(Arc::new(Inner { transport, authenticator, retry: config.retry })))
    }

    /// The manifest at a digest, else at a tag. A digest is verified; a tag is as good as the connection.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        if let Some(path) = reference.path() {
            return disk::manifest(reference, path).await;
        }
        let subject = Subject::manifest(reference);
        let mut attempts = self.0.retry.attempts();
        loop {
            match self.0.manifest(&subject, reference).await {
                Err(error) => attempts.next_after(error).await?,
                manifest => return manifest,
            }
        }
    }

    /// Opens a blob of the repository that `reference` is in. Its bytes are still to come.
    pub async fn blob(&self, reference: &Reference, blob: &Descriptor) -> Result<Blob, Error> {
        if let Some(path) = reference.path() {
            return disk::blob(reference, blob, path).await;
        }
        let subject = Subject::blob(reference, blob);
        let mut attempts = self.0.retry.attempts();
        loop {
            match self.0.blob(&subject, blob).await {
                Err(error) => attempts.next_after(error).await?,
                blob => return blob,
            }
        }
    }

    /// The configuration of an image of the repository that `reference` is in.
    pub async fn config(&self, reference: &Reference, image: &ImageManifest) -> Result<ImageConfig, Error> {
        if let Some(path) = reference.path() {
            return disk::config(reference, &image.config, path).await;
        }
        let subject = Subject::blob(reference, &image.config);
        let mut attempts = self.0.retry.attempts();
        loop {
            match self.0.config(&subject, &image.config).await {
                Err(error) => attempts.next_after(error).await?,
                config => return config,
            }
        }
    }
}

impl Inner {
    async fn manifest(&self, subject: &Subject, reference: &Reference) -> Result<Manifest, Error> {
        let path = format!("{}/manifests/{}", reference.repository(), reference.manifest_name());
        let reply = self.get(subject, &path, Some(&media_type::accept())).await?;
        let bytes = reply.body(subject, Manifest::MAX_SIZE).await?;
        // Docker-Content-Digest says what the registry believes; what came is what counts.
        let actual = Digest::of(&bytes);
        match reference.digest() {
            Some(expected) if expected != actual => {
                Err(Error::DigestMismatch { subject: subject.clone(), expected, actual })
            }
            _ => {
                Manifest::parse(&bytes).map_err(|source| Error::Manifest { subject: subject.clone(), source })
            }
        }
    }

    async fn config(&self, subject: &Subject, config: &Descriptor) -> Result<ImageConfig, Error> {
        let bytes = self.blob(subject, config).await?.bytes(ImageConfig::MAX_SIZE).await?;
        ImageConfig::parse(&bytes).map_err(|error| {
            let problem = Excerpt::of(&error.to_string());
            Error::ImageConfig { subject: subject.clone(), problem }
        })
    }

    async fn blob(&self, subject: &Subject, blob: &Descriptor) -> Result<Blob, Error> {
        let path = format!("{}/blobs/{}", subject.reference().repository(), blob.digest);
        let reply = self.get(subject, &path, None).await?;
        Ok(Blob::new(subject.clone(), blob, reply.url.clone(), reply.into_source()))
    }

    /// Gets what lies at a path below `/v2/`; asks a second time if the first has taught how to ask.
    async fn get(&self, subject: &Subject, path: &str, accept: Option<&str>) -> Result<Reply, Error> {
        let (mut access, mut reply) = self.ask(subject, path, accept).await?;
        let refused = reply.status() == StatusCode::UNAUTHORIZED && !reply.redirected;
        if refused && self.authenticator.learn(subject, &access, &reply).await? {
            (access, reply) = self.ask(subject, path, accept).await?;
        }
        if reply.status() == StatusCode::OK { Ok(reply) } else { Err(access.refused(subject, reply).await) }
    }

    async fn ask(
        &self,
        subject: &Subject,
        path: &str,
        accept: Option<&str>,
    ) -> Result<(Access, Reply), Error> {
        let access = self.authenticator.access(&self.transport, subject).await?;
        let url = access.endpoint.url(path);
        let reply = self.transport.get(url, accept, access.authorization.as_ref()).await?;
        Ok((access, reply))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
