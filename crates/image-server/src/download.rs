//! What happens between a request and its answer.

use axum::http::request::Parts;
use axum::response::Response;
use coreos_names::{Arch, ImageKind};
use image_store::{Lease, Lookup};
use live_iso::{Artifact, Customization, KernelArguments};

use crate::ImageServer;
use crate::infra_env::{Credentials, InfraEnvId};
use crate::rejection::Rejection;
use crate::request::{BootArtifact, ImageRequest, IsoType, Wanted};
use crate::respond::Representation;

impl ImageServer {
    /// Answers a request that was understood.
    pub(crate) async fn download(
        &self,
        wanted: ImageRequest,
        request: &Parts,
    ) -> Result<Response, Rejection> {
        let ImageRequest { version, arch, wanted } = wanted;
        let representation = match wanted {
            Wanted::Iso { iso, infra_env, credentials } => {
                let lease = self.find_iso(iso, version, arch)?;
                self.discovery_iso(lease, infra_env, &credentials).await?
            }
            Wanted::BootArtifact(artifact) => boot_artifact(self.find_booted(version, arch)?, artifact)?,
            Wanted::UnknownArtifact { path } if self.knows(&version, arch) => {
                return Err(Rejection::UnknownArtifact { path });
            }
            Wanted::UnknownArtifact { .. } => return Err(Rejection::unknown_artifact_version(version, arch)),
        };
        Ok(representation.respond(request))
    }

    fn find_iso(&self, iso: IsoType, version: String, arch: Arch) -> Result<Lease, Rejection> {
        let lookup = match iso {
            IsoType::Full => self.catalog.find(&version, arch, ImageKind::Full),
            IsoType::Minimal | IsoType::Disconnected => Lookup::Unknown,
        };
        match lookup {
            Lookup::Ready(found) => Ok(found.lease),
            Lookup::NotReady(report) => Err(Rejection::not_ready(report, arch)),
            Lookup::Unknown if self.knows(&version, arch) => {
                Err(Rejection::IsoNotOffered { iso, version, arch })
            }
            Lookup::Unknown => Err(Rejection::UnknownImage),
        }
    }

    /// Finds the ISO that hosts boot over the network.
    fn find_booted(&self, version: String, arch: Arch) -> Result<Lease, Rejection> {
        match self.catalog.find(&version, arch, ImageKind::Full) {
            Lookup::Ready(found) => Ok(found.lease),
            Lookup::NotReady(report) => Err(Rejection::not_ready(report, arch)),
            Lookup::Unknown if self.knows(&version, arch) => {
                Err(Rejection::ArtifactsNotOffered { version, arch })
            }
            Lookup::Unknown => Err(Rejection::unknown_artifact_version(version, arch)),
        }
    }

    /// Whether there is, or will be, any image for this version and architecture.
    fn knows(&self, version: &str, arch: Arch) -> bool {
        [ImageKind::Full, ImageKind::Disconnected]
            .into_iter()
            .any(|kind| !matches!(self.catalog.find(version, arch, kind), Lookup::Unknown))
    }

    async fn discovery_iso(
        &self,
        lease: Lease,
        id: InfraEnvId,
        credentials: &Credentials,
    ) -> Result<Representation, Rejection> {
        let infra_env = self.infra_envs.infra_env(id, credentials).await?;
        let customization = Customization {
            ignition: Some(self.ignition_archives.archive(infra_env.ignition).await?),
            kernel_arguments: infra_env.kernel_arguments.map(KernelArguments::new).transpose()?,
            ..Customization::default()
        };
        let plan = lease
            .layout()
            .plan(Artifact::FullIso, &customization)
            .map_err(|error| Rejection::of_plan(error, lease.key().arch))?;
        let file_name = format!("{id}-discovery.iso");
        Ok(Representation { lease, plan, file_name, last_modified: infra_env.last_modified })
    }
}

fn boot_artifact(lease: Lease, artifact: BootArtifact) -> Result<Representation, Rejection> {
    let (artifact, file_name) = match artifact {
        BootArtifact::Kernel => (Artifact::Kernel, "vmlinuz"),
        BootArtifact::Rootfs => (Artifact::Rootfs, "rootfs.img"),
    };
    let plan = lease.layout().plan(artifact, &Customization::default())?;
    let last_modified = lease.layout().created();
    Ok(Representation { lease, plan, file_name: file_name.to_owned(), last_modified })
}
