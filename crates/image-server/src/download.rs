//! What happens between a request and its answer.

use axum::http::request::Parts;
use axum::response::Response;
use coreos_names::{Arch, ImageKind, OpenshiftVersion};
use image_store::{Found, Lease, Lookup, NmstateArchive, NmstateTrouble};
use live_iso::{Artifact, Customization, KernelArguments, PlanError, Ramdisk};

use crate::ImageServer;
use crate::infra_env::{Credentials, InfraEnv, InfraEnvId, Purpose};
use crate::minimal_isos::Prepared;
use crate::rejection::Rejection;
use crate::request::{BootArtifact, ImageRequest, IsoType, NetworkBootFile, Wanted};
use crate::respond::{BINARY, KnownDigests, Representation, TEXT};

impl ImageServer {
    /// Answers a request that was understood.
    pub(crate) async fn download(
        &self,
        wanted: ImageRequest,
        request: &Parts,
    ) -> Result<Response, Rejection> {
        let ImageRequest { version, arch, wanted } = wanted;
        let mut representation = match wanted {
            Wanted::Iso { iso, infra_env, credentials } => {
                self.discovery_iso(iso, version, arch, infra_env, &credentials).await?
            }
            Wanted::NetworkBoot { file, infra_env, credentials } => {
                let found = self.find_booted(version, arch, Rejection::unknown_initrd_version)?;
                self.network_boot(found, file, infra_env, &credentials).await?
            }
            Wanted::BootArtifact(BootArtifact::InsFile)
                if arch != Arch::S390x && self.catalog.knows(&version, arch) =>
            {
                return Err(Rejection::InsFileOfOtherArch(arch));
            }
            Wanted::BootArtifact(artifact) => {
                let found = self.find_booted(version, arch, Rejection::unknown_artifact_version)?;
                boot_artifact(found.lease, artifact)?
            }
            Wanted::UnknownArtifact { path } if self.catalog.knows(&version, arch) => {
                return Err(Rejection::UnknownArtifact { path });
            }
            Wanted::UnknownArtifact { .. } => {
                return Err(self.unknown(Rejection::unknown_artifact_version(version, arch)));
            }
        };
        representation.known = representation.known.with_long(&representation.plan).await?;
        Ok(representation.respond(request))
    }

    fn find_iso(&self, iso: IsoType, version: &str, arch: Arch) -> Result<Found, Rejection> {
        let kind = match iso {
            IsoType::Full | IsoType::Minimal => ImageKind::Full,
            IsoType::Disconnected => ImageKind::Disconnected,
        };
        match self.catalog.find(version, arch, kind) {
            Lookup::Ready(found) => Ok(found),
            Lookup::NotReady(report) => Err(Rejection::not_ready(report, arch)),
            Lookup::Unknown if self.catalog.knows(version, arch) => {
                let version = version.to_owned();
                Err(Rejection::IsoNotOffered { iso, version, arch, reason: None })
            }
            Lookup::Unknown => Err(self.unknown(Rejection::UnknownImage)),
        }
    }

    /// What is answered about an image that nobody has asked for so far.
    fn unknown(&self, rejection: Rejection) -> Rejection {
        if self.catalog.list().is_awaited { Rejection::ListAwaited } else { rejection }
    }

    /// Prepares the minimal ISO of an image, if it can have one.
    async fn minimal_iso(&self, found: &Found, version: String) -> Result<Prepared, Rejection> {
        let base_url = self.base_url.as_ref().ok_or(Rejection::NoBaseUrl)?;
        let arch = found.lease.key().arch;
        let nmstate = match arch {
            // There kernel and initramfs are one file, which nothing can follow. Who would need it is refused later.
            Arch::S390x => None,
            _ => nmstate(found)?,
        };
        match self.minimal_isos.prepare(&found.lease, nmstate, base_url).await {
            Err(Rejection::Plan(reason @ PlanError::NoMinimalIso { .. })) => {
                let reason = Some(reason);
                Err(Rejection::IsoNotOffered { iso: IsoType::Minimal, version, arch, reason })
            }
            prepared => prepared,
        }
    }

    /// Finds the ISO that hosts boot over the network.
    fn find_booted(
        &self,
        version: String,
        arch: Arch,
        unknown: fn(String, Arch) -> Rejection,
    ) -> Result<Found, Rejection> {
        match self.catalog.find(&version, arch, ImageKind::Full) {
            Lookup::Ready(found) => Ok(found),
            Lookup::NotReady(report) => Err(Rejection::not_ready(report, arch)),
            Lookup::Unknown if self.catalog.knows(&version, arch) => {
                Err(Rejection::ArtifactsNotOffered { version, arch })
            }
            Lookup::Unknown => Err(self.unknown(unknown(version, arch))),
        }
    }

    async fn discovery_iso(
        &self,
        iso: IsoType,
        version: String,
        arch: Arch,
        id: InfraEnvId,
        credentials: &Credentials,
    ) -> Result<Representation, Rejection> {
        let found = self.find_iso(iso, &version, arch)?;
        let minimal = match iso {
            IsoType::Minimal => Some(self.minimal_iso(&found, version).await?),
            IsoType::Full | IsoType::Disconnected => None,
        };
        let infra_env = self.infra_envs.infra_env(id, iso.purpose(), credentials).await?;
        if minimal.is_some() && arch == Arch::S390x && infra_env.ramdisk.is_some() && needs_nmstatectl(&found)
        {
            return Err(Rejection::NoPlaceForNmstatectl);
        }
        let lease = found.lease;
        let last_modified = infra_env.last_modified;
        let customization = self.customization(infra_env).await?;
        let (plan, known) = match minimal {
            Some(Prepared { iso, known }) => (iso.plan(&customization), known),
            None => (lease.layout().plan(Artifact::FullIso, &customization), KnownDigests::default()),
        };
        let plan = plan.map_err(|error| Rejection::of_plan(error, arch))?;
        let file_name = match iso {
            IsoType::Full | IsoType::Minimal => format!("{id}-discovery.iso"),
            IsoType::Disconnected => format!("agent-ove.{arch}.iso"),
        };
        Ok(Representation { lease, plan, known, file_name, content_type: BINARY, last_modified })
    }

    async fn network_boot(
        &self,
        found: Found,
        file: NetworkBootFile,
        id: InfraEnvId,
        credentials: &Credentials,
    ) -> Result<Representation, Rejection> {
        let (artifact, extension) = match file {
            NetworkBootFile::Initrd => (Artifact::Initrd, "img"),
            NetworkBootFile::InitrdAddrSize => (Artifact::InitrdAddrSize, "addrsize"),
        };
        // Nobody needs to be asked if the image has no such file.
        found.lease.layout().plan(artifact, &Customization::default())?;
        let infra_env = self.infra_envs.infra_env(id, Purpose::NetworkBoot, credentials).await;
        let infra_env = infra_env.map_err(Rejection::InfraEnvOfInitrd)?;
        let last_modified = infra_env.last_modified;
        let mut customization = self.customization(infra_env).await?;
        if customization.ramdisk.is_some() {
            customization.nmstate_len = nmstate(&found)?.map(NmstateArchive::len);
        }
        let lease = found.lease;
        let plan = lease.layout().plan(artifact, &customization)?;
        let file_name = format!("{id}-initrd.{extension}");
        Ok(Representation {
            lease,
            plan,
            known: KnownDigests::default(),
            file_name,
            content_type: BINARY,
            last_modified,
        })
    }

    async fn customization(&self, infra_env: InfraEnv) -> Result<Customization, Rejection> {
        Ok(Customization {
            ignition: Some(self.ignition_archives.archive(infra_env.ignition).await?),
            kernel_arguments: infra_env.kernel_arguments.map(KernelArguments::new).transpose()?,
            ramdisk: infra_env.ramdisk.map(Ramdisk::new),
            nmstate_len: None,
        })
    }
}

/// The archive with the program that hosts of this version configure their network with.
fn nmstate(found: &Found) -> Result<Option<&NmstateArchive>, Rejection> {
    let archive = found.lease.nmstate();
    match &found.openshift_version {
        Some(_) if needs_nmstatectl(found) => {
            archive.map(Some).ok_or_else(|| match found.lease.nmstate_trouble() {
                Some(NmstateTrouble::Unavailable { .. }) => Rejection::NmstatectlUnavailable,
                _ => Rejection::NoNmstatectl,
            })
        }
        Some(_) => Ok(None),
        // It does no harm where nobody calls it.
        None => Ok(archive),
    }
}

/// Whether hosts are known to configure their network with nmstatectl, before they have a root file system.
fn needs_nmstatectl(found: &Found) -> bool {
    found.openshift_version.as_ref().is_some_and(OpenshiftVersion::needs_nmstatectl)
}

fn boot_artifact(lease: Lease, artifact: BootArtifact) -> Result<Representation, Rejection> {
    let (artifact, file_name, content_type) = match artifact {
        BootArtifact::Kernel => (Artifact::Kernel, "vmlinuz", BINARY),
        BootArtifact::Rootfs => (Artifact::Rootfs, "rootfs.img", BINARY),
        BootArtifact::InsFile => (Artifact::InsFile, "generic.ins", TEXT),
    };
    let plan = lease.layout().plan(artifact, &Customization::default())?;
    let last_modified = lease.layout().created();
    Ok(Representation {
        lease,
        plan,
        known: KnownDigests::default(),
        file_name: file_name.to_owned(),
        content_type,
        last_modified,
    })
}
