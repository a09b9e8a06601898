//! Images that lie in folders, as the tools of disconnected sites leave them.
//!
//! An admin names a folder, and which of four layouts is there is found out when it is asked: see [`Folder`]. The path
//! is trusted and may lead anywhere; what lies below the layout's own folder is not: no link leads out of it, nothing
//! but regular files is read, and everything is held against its digest as if it came from a registry. A tag is as good
//! as the disk. Nobody is shown credentials, and no mirror is asked.

mod error;
mod folder;
mod layout;
mod oci_index;
mod tree;

use std::path::Path;

use bytes::Bytes;
use futures_util::stream;

pub use error::DiskError;
pub use layout::ImageLayout;

use crate::blob::{Source, SourceError};
use crate::blocking::blocking;
use crate::excerpt::Excerpt;
use crate::subject::Subject;
use crate::{Blob, Descriptor, Digest, Error, ImageConfig, Manifest, RedactedUrl, Reference};
use folder::Folder;
use oci_index::{Chosen, OciIndex};
use tree::OpenFile;

/// How many bytes are read at a time: calls into the thread pool cost more than memory does.
const CHUNK: u64 = 512 << 10;

/// The manifest at a digest, which is verified, else at a tag, else the only one.
pub(crate) async fn manifest(reference: &Reference, path: &Path) -> Result<Manifest, Error> {
    let subject = Subject::manifest(reference);
    let (path, wanted) = (path.to_owned(), reference.clone());
    let bytes = match blocking(move || Folder::find(&path)?.manifest(&wanted)).await {
        Ok(bytes) => bytes,
        Err(source) => return Err(Error::Disk { subject, source }),
    };
    let actual = Digest::of(&bytes);
    match reference.digest() {
        Some(expected) if expected != actual => Err(Error::DigestMismatch { subject, expected, actual }),
        _ => Manifest::parse(&bytes).map_err(|source| Error::Manifest { subject, source }),
    }
}

/// Opens a blob, whose size has to be right already.
pub(crate) async fn blob(reference: &Reference, blob: &Descriptor, path: &Path) -> Result<Blob, Error> {
    let subject = Subject::blob(reference, blob);
    let (path, digest, expected) = (path.to_owned(), blob.digest, blob.size);
    let file = blocking(move || {
        let file = Folder::find(&path)?.blob(digest)?;
        let OpenFile { path, size: actual, .. } = &file;
        if *actual == expected {
            Ok(file)
        } else {
            Err(DiskError::Size { path: path.clone(), expected, actual: *actual })
        }
    });
    match file.await {
        Ok(file) => Ok(Blob::new(subject, blob, RedactedUrl::from_path(&file.path), source(file))),
        Err(source) => Err(Error::Disk { subject, source }),
    }
}

/// The configuration of an image.
pub(crate) async fn config(
    reference: &Reference,
    config: &Descriptor,
    path: &Path,
) -> Result<ImageConfig, Error> {
    let bytes = blob(reference, config, path).await?.bytes(ImageConfig::MAX_SIZE).await?;
    ImageConfig::parse(&bytes).map_err(|error| Error::ImageConfig {
        subject: Subject::blob(reference, config),
        problem: Excerpt::of(&error.to_string()),
    })
}

/// What `index.json` says of a tag, for fuzzing.
pub(crate) fn tagged(index: &[u8], tag: Option<&str>) -> Option<Digest> {
    match OciIndex::parse(index).ok()?.choose(tag) {
        Chosen::Digest(digest) => digest.parse().ok(),
        Chosen::None | Chosen::Several => None,
    }
}

/// The bytes of a file until its end, wherever that is.
fn source(file: OpenFile) -> Source {
    Box::pin(stream::try_unfold(file, |mut file| async {
        let (chunk, file) = blocking(move || {
            let chunk = file.read_up_to(CHUNK);
            (chunk, file)
        })
        .await;
        let chunk = Bytes::from(chunk.map_err(SourceError::from)?);
        Ok((!chunk.is_empty()).then_some((chunk, file)))
    }))
}
