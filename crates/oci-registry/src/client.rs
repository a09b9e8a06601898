use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

use crate::auth::{Access, Authenticator};
use crate::download::{Download, Opened};
use crate::endpoint::Endpoint;
use crate::excerpt::Excerpt;
use crate::experience::Experience;
use crate::reply::Reply;
use crate::rounds::Rounds;
use crate::subject::Subject;
use crate::transport::{Network, Transport};
use crate::{
    Blob, CredentialSource, Descriptor, Digest, Error, ImageConfig, ImageManifest, Manifest, MinRate,
    Mirrors, Proxies, PullSource, Reference, RegistryHost, ResumePatience, Retry, disk, media_type,
};

/// What a [`Registry`] may do, and with which credentials.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who we are to which registry.
    pub credentials: CredentialSource,
    /// Where images lie beside, or instead of, where their names say.
    pub mirrors: Mirrors,
    /// Certificates trusted beside the system's, as a bundle of PEM.
    pub trusted_ca_pem: Option<Vec<u8>>,
    /// Where TLS is not verified and plain HTTP is spoken if there is no TLS. Holds for CDNs and token servers too:
    /// a registry's being listed says nothing of where it redirects to.
    pub insecure: BTreeSet<RegistryHost>,
    /// Directories as containers-certs.d(5) has them: `<host[:port]>/*.crt` are trusted at that host,
    /// `<host[:port]>/*.cert` with `*.key` are shown to it. For each host the first directory that has one for it
    /// counts, and is read when the host is first talked to, and again when its files have changed.
    pub certs_dirs: Vec<PathBuf>,
    /// Never HTTP/2, with which some proxies have trouble.
    pub http1_only: bool,
    /// By way of whom registries, token servers and CDNs are reached. The default is what the environment says.
    pub proxies: Proxies,
    /// Sent with every request.
    pub user_agent: String,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a peer may be silent, before and within an answer.
    pub read_timeout: Duration,
    /// How long it may take to get one thing from one source, with all that has to be asked before: what the registry
    /// wants, a token, redirects. It ends with the last byte of a manifest or configuration, and with the first of a
    /// layer.
    pub request_timeout: Duration,
    /// A peer that sends a layer more slowly counts as a silent one.
    pub min_rate: MinRate,
    /// What is done about hiccups.
    pub retry: Retry,
    /// What is done about downloads that break.
    pub resume: ResumePatience,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            credentials: CredentialSource::default(),
            mirrors: Mirrors::default(),
            trusted_ca_pem: None,
            insecure: BTreeSet::new(),
            certs_dirs: Vec::new(),
            http1_only: false,
            proxies: Proxies::from_env(),
            user_agent: concat!("oci-registry/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_mins(2),
            min_rate: MinRate::default(),
            retry: Retry::default(),
            resume: ResumePatience::default(),
        }
    }
}

/// A client for all registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    network: Arc<Network>,
    authenticator: Authenticator,
    pub(crate) mirrors: Mirrors,
    pub(crate) experience: Arc<Experience>,
    pub(crate) retry: Retry,
    pub(crate) resume: ResumePatience,
    pub(crate) min_rate: MinRate,
}

impl Registry {
    /// Makes a client, and no connection yet. The process must have installed a rustls crypto provider before.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner {
            network: Arc::new(Network::new(&config)?),
            authenticator: Authenticator::new(config.credentials),
            mirrors: config.mirrors,
            experience: Arc::default(),
            retry: config.retry,
            resume: config.resume,
            min_rate: config.min_rate,
        })))
    }

    /// Whether both are clones of one client.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The manifest at a digest, else at a tag. A digest is verified; a tag is as good as the connection.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        if let Some(path) = reference.path() {
            return disk::manifest(reference, path).await;
        }
        let mut rounds = self.0.rounds(Subject::manifest(reference), reference)?;
        loop {
            let source = rounds.next().await?;
            match self.0.manifest(&source).await {
                Ok(manifest) => {
                    rounds.answered();
                    return Ok(manifest);
                }
                Err(error) => rounds.failed(error),
            }
        }
    }

    /// Opens a blob of the repository that `reference` is in. Its bytes are still to come, from wherever there are any:
    /// a connection that breaks is replaced by another, with the same source or the next.
    pub async fn blob(&self, reference: &Reference, blob: &Descriptor) -> Result<Blob, Error> {
        if let Some(path) = reference.path() {
            return disk::blob(reference, blob, path).await;
        }
        let subject = Subject::blob(reference, blob);
        let mut rounds = self.0.rounds(subject, reference)?;
        loop {
            let source = rounds.next().await?;
            match self.0.open(&source, blob, 0).await {
                Ok(opened) => {
                    rounds.answered();
                    return Ok(Download::start(Arc::clone(&self.0), blob, rounds, source.reference, opened));
                }
                Err(error) => rounds.failed(error),
            }
        }
    }

    /// The configuration of an image of the repository that `reference` is in.
    pub async fn config(&self, reference: &Reference, image: &ImageManifest) -> Result<ImageConfig, Error> {
        if let Some(path) = reference.path() {
            return disk::config(reference, &image.config, path).await;
        }
        let subject = Subject::blob(reference, &image.config);
        let mut rounds = self.0.rounds(subject, reference)?;
        loop {
            let source = rounds.next().await?;
            match self.0.config(&source, &image.config).await {
                Ok(config) => {
                    rounds.answered();
                    return Ok(config);
                }
                Err(error) => rounds.failed(error),
            }
        }
    }
}

impl Inner {
    /// The places where something of the repository of `reference` may lie, one after the other.
    fn rounds(&self, subject: Subject, reference: &Reference) -> Result<Rounds, Error> {
        let sources = self.mirrors.pull_sources(reference)?;
        Ok(Rounds::new(subject, sources, self.retry.clone(), Arc::clone(&self.experience)))
    }

    /// A manifest, from this source only.
    async fn manifest(&self, source: &PullSource) -> Result<Manifest, Error> {
        let reference = &source.reference;
        let subject = &Subject::manifest(reference);
        let path = format!("{}/manifests/{}", reference.repository(), reference.manifest_name());
        let accept = media_type::accept();
        let reply = self.get(source, subject, Ask { path: &path, accept: Some(&accept), offset: 0 }).await?;
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

    /// An image configuration, from this source only.
    async fn config(&self, source: &PullSource, config: &Descriptor) -> Result<ImageConfig, Error> {
        let Opened { reply, .. } = self.open(source, config, 0).await?;
        let subject = Subject::blob(&source.reference, config);
        let (deadline, url) = (reply.deadline, reply.url.clone());
        let blob = Blob::new(subject.clone(), config, url.clone(), reply.into_source());
        let bytes = deadline.hold(url, blob.bytes(ImageConfig::MAX_SIZE)).await?;
        ImageConfig::parse(&bytes).map_err(|error| {
            let problem = Excerpt::of(&error.to_string());
            Error::ImageConfig { subject, problem }
        })
    }

    /// The bytes of a blob from `offset` on, from this source only.
    pub(crate) async fn open(
        &self,
        source: &PullSource,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Opened, Error> {
        self.open_from(source, blob, offset, offset).await
    }

    /// The same from a source that answers with another part than it is asked for: all of it, of which the beginning is
    /// passed over.
    pub(crate) async fn open_whole(
        &self,
        source: &PullSource,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Opened, Error> {
        self.open_from(source, blob, 0, offset).await
    }

    async fn open_from(
        &self,
        source: &PullSource,
        blob: &Descriptor,
        first: u64,
        offset: u64,
    ) -> Result<Opened, Error> {
        let subject = Subject::blob(&source.reference, blob);
        let path = format!("{}/blobs/{}", source.reference.repository(), blob.digest);
        let reply = self.get(source, &subject, Ask { path: &path, accept: None, offset: first }).await?;
        let skip = reply.bytes_before(offset, &subject, blob.size)?;
        Ok(Opened { reply, skip })
    }

    /// Gets what lies at a path below `/v2/`.
    async fn get(&self, source: &PullSource, subject: &Subject, ask: Ask<'_>) -> Result<Reply, Error> {
        let (access, reply) = self.exchange(source, subject, ask).await?;
        match reply.status() {
            StatusCode::OK => Ok(reply),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if ask.offset > 0 => Ok(reply),
            _ => Err(access.refused(subject, reply).await),
        }
    }

    /// Asks for what lies at a path below `/v2/`, and again as long as a refusal teaches how to ask.
    pub(crate) async fn exchange(
        &self,
        source: &PullSource,
        subject: &Subject,
        ask: Ask<'_>,
    ) -> Result<(Access, Reply), Error> {
        // What the registry wants, a token that has expired, a password that has changed: no more can be learnt.
        const MOST_TO_LEARN: usize = 3;
        let transport = self.network.at(source);
        let known = self.authenticator.known(&transport, subject);
        let mut answer = self.ask(&transport, subject, ask).await;
        if let Some(known) = known
            && known.may_be_outdated(&transport, answer.as_ref().map(|(_, reply)| reply))
            && self.has_changed(&transport, subject, &known).await
        {
            answer = self.ask(&transport, subject, ask).await;
        }
        let (mut access, mut reply) = answer?;
        for _ in 0..MOST_TO_LEARN {
            let refused = reply.status() == StatusCode::UNAUTHORIZED && !reply.redirected;
            if !refused || !self.authenticator.learn(subject, &access, &reply).await? {
                break;
            }
            (access, reply) = self.ask(&transport, subject, ask).await?;
        }
        Ok((access, reply))
    }

    /// Whether the registry is another one than was known, as far as it can be asked.
    async fn has_changed(&self, transport: &Transport, subject: &Subject, known: &Endpoint) -> bool {
        let home = Endpoint::expected_at(subject.reference().host());
        let asked = self.authenticator.rediscover(transport, subject, known);
        transport.deadline.hold(&home, asked).await.unwrap_or_default()
    }

    async fn ask(
        &self,
        transport: &Transport,
        subject: &Subject,
        Ask { path, accept, offset }: Ask<'_>,
    ) -> Result<(Access, Reply), Error> {
        // Whoever else asks the same may be waited for, and has a deadline of its own.
        let home = Endpoint::expected_at(subject.reference().host());
        let access = transport.deadline.hold(&home, self.authenticator.access(transport, subject)).await?;
        let url = access.endpoint.url(path);
        let reply = transport.get_from(offset, url, accept, access.authorization.as_ref()).await?;
        Ok((access, reply))
    }
}

/// What is asked of a registry.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Below `/v2/`.
    pub(crate) path: &'a str,
    pub(crate) accept: Option<&'a str>,
    /// The first byte that is wanted.
    pub(crate) offset: u64,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
