use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use super::oci_index::{Chosen, OciIndex};
use super::tree::{OpenFile, Tree};
use super::{DiskError, ImageLayout};
use crate::excerpt::Excerpt;
use crate::{Digest, Manifest, Reference};

/// A folder with images, of which one repository is asked.
#[derive(Debug)]
pub(crate) struct Folder {
    layout: ImageLayout,
    tree: Tree,
    /// Within the layout. Empty where a layout knows no repositories.
    repository: String,
}

impl Folder {
    const OC: &str = "v2";
    const STORAGE: &str = "docker/registry/v2";
    /// `sha256:<hex>`, with room for a newline or what an editor adds.
    const MAX_LINK: u64 = 128;
    /// How many tags an error names, and among how many names they are looked for.
    const SHOWN: usize = 20;
    const LOOKED_AT: usize = 10_000;

    /// Recognises the layout that a path leads into: at the path, else at the nearest folder above it.
    pub(crate) fn find(path: &Path) -> Result<Self, DiskError> {
        let mut without_repository = None;
        for folder in path.ancestors() {
            match existing(folder)? {
                Some(metadata) if metadata.is_dir() => {}
                Some(_) => return Err(packed(folder)),
                None => continue,
            }
            let rest = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default();
            let Some((layout, repository)) = recognise(folder, rest)? else { continue };
            if let Some(repository) = repository {
                return Ok(Self { layout, tree: Tree::at(folder)?, repository: repository.to_owned() });
            }
            let (folder, wanted) = (folder.to_owned(), format!("repository {rest:?}"));
            without_repository.get_or_insert(DiskError::Missing {
                layout,
                folder,
                wanted,
                hint: String::new(),
            });
        }
        Err(without_repository.unwrap_or_else(|| DiskError::NoLayout { path: path.to_owned() }))
    }

    /// The bytes of the manifest that is asked for. Those at a digest are still to be verified.
    pub(crate) fn manifest(&self, reference: &Reference) -> Result<Vec<u8>, DiskError> {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => self.manifest_at(digest),
            (None, tag) => self.tagged(tag),
        }
    }

    /// Opens the blob with this digest, or what claims to be it.
    pub(crate) fn blob(&self, digest: Digest) -> Result<OpenFile, DiskError> {
        for name in self.blob_names(digest) {
            if let Some(file) = self.tree.open(&name)? {
                return Ok(file);
            }
        }
        Err(self.missing(format!("blob {digest}"), self.why_not(digest)))
    }

    fn manifest_at(&self, digest: Digest) -> Result<Vec<u8>, DiskError> {
        let names = match self.layout {
            ImageLayout::Oc => {
                let manifests = format!("{}/{}/manifests", Self::OC, self.repository);
                [oc_names(&manifests, digest), self.blob_names(digest)].concat()
            }
            ImageLayout::Dir => vec![format!("{}.manifest.json", digest.sha256())],
            ImageLayout::Storage | ImageLayout::Oci => self.blob_names(digest),
        };
        for name in names {
            if let Some(bytes) = self.tree.read(&name, Manifest::MAX_SIZE)? {
                return Ok(bytes);
            }
        }
        if self.layout == ImageLayout::Dir {
            let bytes = self.only_manifest()?;
            let only = Digest::of(&bytes);
            return if only == digest {
                Ok(bytes)
            } else {
                Err(self.missing(format!("manifest {digest}"), format!("; it is {only}")))
            };
        }
        Err(self.missing(format!("manifest {digest}"), self.why_not(digest)))
    }

    fn tagged(&self, tag: Option<&str>) -> Result<Vec<u8>, DiskError> {
        match (self.layout, tag) {
            (ImageLayout::Oc, _) => self.tagged_by_oc(tag.unwrap_or(Reference::DEFAULT_TAG)),
            (ImageLayout::Storage, _) => self.tagged_in_storage(tag.unwrap_or(Reference::DEFAULT_TAG)),
            (ImageLayout::Oci, _) => self.tagged_in_index(tag),
            (ImageLayout::Dir, None) => self.only_manifest(),
            (ImageLayout::Dir, Some(tag)) => {
                let hint = "; it holds one image, which is named without a tag".to_owned();
                Err(self.missing(format!("tag {tag}"), hint))
            }
        }
    }

    /// A tag is a link to the manifest. Some ways of copying put the manifest in its place, others what the link says.
    fn tagged_by_oc(&self, tag: &str) -> Result<Vec<u8>, DiskError> {
        let manifests = format!("{}/{}/manifests", Self::OC, self.repository);
        let Some(bytes) = self.tree.read(&format!("{manifests}/{tag}"), Manifest::MAX_SIZE)? else {
            let mut tags = self.tree.names(&manifests, Self::LOOKED_AT);
            tags.retain(|name| !name.starts_with("sha256") && !name.ends_with(".download"));
            let hint = if tags.is_empty() {
                "; it has no tags at all: not every way of copying keeps links, so name the image by its digest, @sha256:…".to_owned()
            } else {
                listed(tags.iter().map(String::as_str))
            };
            return Err(self.missing(self.tag(tag), hint));
        };
        match link(&bytes) {
            Some(digest) => self.manifest_at(digest),
            None => Ok(bytes),
        }
    }

    fn tagged_in_storage(&self, tag: &str) -> Result<Vec<u8>, DiskError> {
        let repository = format!("{}/repositories/{}", Self::STORAGE, self.repository);
        let name = format!("{repository}/_manifests/tags/{tag}/current/link");
        let Some(bytes) = self.tree.read(&name, Self::MAX_LINK)? else {
            let tags = self.tree.names(&format!("{repository}/_manifests/tags"), Self::SHOWN + 1);
            return Err(self.missing(self.tag(tag), listed(tags.iter().map(String::as_str))));
        };
        let digest = link(&bytes).ok_or_else(|| DiskError::Invalid {
            path: self.tree.folder().join(name),
            problem: Excerpt::of("it holds no digest"),
        })?;
        self.manifest_at(digest)
    }

    fn tagged_in_index(&self, tag: Option<&str>) -> Result<Vec<u8>, DiskError> {
        const NAME: &str = "index.json";
        let invalid = |problem| DiskError::Invalid { path: self.tree.folder().join(NAME), problem };
        let bytes = self
            .tree
            .read(NAME, OciIndex::MAX_SIZE)?
            .ok_or_else(|| self.missing(NAME.to_owned(), String::new()))?;
        let index = OciIndex::parse(&bytes).map_err(invalid)?;
        let wanted = || tag.map_or_else(|| "image".to_owned(), |tag| format!("tag {tag}"));
        match index.choose(tag) {
            Chosen::Digest(digest) => {
                let digest = digest
                    .parse()
                    .map_err(|error: crate::InvalidDigest| invalid(Excerpt::of(&error.to_string())))?;
                self.manifest_at(digest)
            }
            Chosen::None => Err(self.missing(wanted(), listed(index.names()))),
            Chosen::Several if tag.is_none() => {
                let hint = "; name one by its tag or digest".to_owned();
                Err(self.missing("single image".to_owned(), listed(index.names()) + &hint))
            }
            Chosen::Several => Err(invalid(Excerpt::of(&format!("several images have the {}", wanted())))),
        }
    }

    fn only_manifest(&self) -> Result<Vec<u8>, DiskError> {
        const NAME: &str = "manifest.json";
        self.tree.read(NAME, Manifest::MAX_SIZE)?.ok_or_else(|| self.missing(NAME.to_owned(), String::new()))
    }

    /// Where a blob can be.
    fn blob_names(&self, digest: Digest) -> Vec<String> {
        let hex = digest.sha256().to_string();
        match self.layout {
            ImageLayout::Oc => oc_names(&format!("{}/{}/blobs", Self::OC, self.repository), digest),
            ImageLayout::Storage => vec![format!("{}/blobs/sha256/{}/{hex}/data", Self::STORAGE, &hex[..2])],
            ImageLayout::Oci => vec![format!("blobs/sha256/{hex}")],
            ImageLayout::Dir => vec![hex],
        }
    }

    fn tag(&self, tag: &str) -> String {
        format!("tag {tag} in repository {:?}", self.repository)
    }

    fn missing(&self, wanted: String, hint: String) -> DiskError {
        DiskError::Missing { layout: self.layout, folder: self.tree.folder().to_owned(), wanted, hint }
    }

    /// What the layout's usual way of coming about has to do with something's being absent.
    fn why_not(&self, digest: Digest) -> String {
        match self.layout {
            ImageLayout::Oc => format!(" in repository {:?}", self.repository),
            ImageLayout::Storage => {
                "; an archive of oc-mirror has only what was new when it was written, so it may be in \
                 an earlier one"
                    .to_owned()
            }
            ImageLayout::Oci => {
                "; skopeo gives images of Docker's format other digests when it copies them to oci:, but \
                 not to dir:"
                    .to_owned()
            }
            ImageLayout::Dir => format!(" (looked for the file {})", digest.sha256()),
        }
    }
}

/// The layout at a folder, and the repository that the rest of the path names, if that is there. What is below the
/// folder may be named whole, as it is where a shell completes it.
fn recognise<'a>(folder: &Path, rest: &'a str) -> Result<Option<(ImageLayout, Option<&'a str>)>, DiskError> {
    let exists = |name: &str| Ok::<_, DiskError>(existing(&folder.join(name))?.is_some());
    if rest.is_empty() {
        return Ok(if exists("oci-layout")? {
            Some((ImageLayout::Oci, Some("")))
        } else if exists("version")? && exists("manifest.json")? {
            Some((ImageLayout::Dir, Some("")))
        } else {
            None
        });
    }
    let repositories = format!("{}/repositories", Folder::STORAGE);
    if exists(&repositories)? {
        let repository = rest.strip_prefix(&format!("{repositories}/")).unwrap_or(rest);
        let found = exists(&format!("{repositories}/{repository}/_manifests"))?.then_some(repository);
        return Ok(Some((ImageLayout::Storage, found)));
    }
    if exists(Folder::OC)? {
        let repository = rest.strip_prefix("v2/").unwrap_or(rest);
        let found = exists(&format!("{}/{repository}/manifests", Folder::OC))?.then_some(repository);
        return Ok(Some((ImageLayout::Oc, found)));
    }
    Ok(None)
}

/// What is at a path of the admin's. `None` if nothing is.
fn existing(path: &Path) -> Result<Option<Metadata>, DiskError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(DiskError::Io { path: path.to_owned(), source }),
    }
}

/// The error that a file is where a folder should be.
fn packed(path: &Path) -> DiskError {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_oc_mirrors = stem.starts_with("mirror_") && path.extension().is_some_and(|end| end == "tar");
    let path = path.to_owned();
    if is_oc_mirrors { DiskError::OcMirrorArchive { path } } else { DiskError::NotAFolder { path } }
}

fn oc_names(folder: &str, digest: Digest) -> Vec<String> {
    [':', '-'].map(|separator| format!("{folder}/sha256{separator}{}", digest.sha256())).to_vec()
}

/// The digest that is all a file says.
fn link(bytes: &[u8]) -> Option<Digest> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= Folder::MAX_LINK)?.trim();
    text.strip_prefix("sha256-").map_or_else(|| text.parse(), |hex| format!("sha256:{hex}").parse()).ok()
}

/// What there is instead, as `, only …`. The names are somebody else's.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.take(Folder::SHOWN + 1).collect();
    names.sort_unstable();
    let more = if names.len() > Folder::SHOWN { ", …" } else { "" };
    names.truncate(Folder::SHOWN);
    match &names[..] {
        [] => ", and none else".to_owned(),
        names => Excerpt::of(&format!(", only {}{more}", names.join(", "))).to_string(),
    }
}
