use std::io::{self, BufWriter, Write};
use std::path::Path;

use coreos_names::Sha256;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use super::content::Hashing;
use super::{Content, MediaTypes};

/// How a layer's tar archive is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As nearly all layers are.
    #[default]
    Gzip,
    /// As some newer layers are.
    Zstd,
}

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The blob.
    pub content: Content,
    /// How it is packed.
    pub compression: Compression,
    /// The digest of the tar archive itself.
    pub diff_id: Sha256,
}

impl Layer {
    pub(crate) fn media_type(&self, media_types: MediaTypes) -> &'static str {
        match (media_types, self.compression) {
            (MediaTypes::Docker, Compression::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (MediaTypes::Docker, Compression::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
            (MediaTypes::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (MediaTypes::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (MediaTypes::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (MediaTypes::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

/// A layer in the making. Members come in the order they are added. Names are written as they are given, be they
/// as good as `coreos/x` or as bad as `../x`.
#[derive(Debug, Default)]
pub struct LayerBuilder {
    compression: Compression,
    members: Vec<(String, Member)>,
}

#[derive(Debug)]
enum Member {
    Directory,
    File(Content),
    Symlink(String),
    Hardlink(String),
    /// Blocks of an archive as they are.
    Blocks(Vec<u8>),
}

impl LayerBuilder {
    /// An empty layer.
    pub fn new(compression: Compression) -> Self {
        Self { compression, members: Vec::new() }
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.member(name, Member::Directory)
    }

    /// Adds a file with these bytes.
    #[must_use]
    pub fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.content(name, Content::from_bytes(bytes.as_ref().to_vec()))
    }

    /// Adds a file.
    #[must_use]
    pub fn content(self, name: &str, content: Content) -> Self {
        self.member(name, Member::File(content))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name, Member::Symlink(target.to_owned()))
    }

    /// Adds another name for a file.
    #[must_use]
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.member(name, Member::Hardlink(target.to_owned()))
    }

    /// Adds what this builder has no words for: a member's header, contents and padding, or what a hostile archive has.
    #[must_use]
    pub fn blocks(self, blocks: Vec<u8>) -> Self {
        self.member("", Member::Blocks(blocks))
    }

    /// Takes away everything that the layers below have in a directory.
    #[must_use]
    pub fn opaque(self, directory: &str) -> Self {
        self.file(&format!("{directory}/.wh..wh..opq"), "")
    }

    /// Takes away a file or directory of the layers below: `coreos/x` by `coreos/.wh.x`.
    #[must_use]
    pub fn whiteout(self, name: &str) -> Self {
        let (directory, base) =
            name.rsplit_once('/').map_or((String::new(), name), |(d, b)| (format!("{d}/"), b));
        self.file(&format!("{directory}.wh.{base}"), "")
    }

    /// Packs the layer in memory.
    pub fn build(self) -> io::Result<Layer> {
        let (bytes, sealed) = self.pack(Vec::new())?;
        let content = Content::from_bytes(bytes);
        Ok(Layer { content, compression: sealed.compression, diff_id: sealed.diff_id })
    }

    /// Packs the layer into a temporary file of this directory.
    pub fn build_in(self, directory: &Path) -> io::Result<Layer> {
        let (file, sealed) = self.pack(BufWriter::new(NamedTempFile::new_in(directory)?))?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let content = Content::temporary(file.into_temp_path(), sealed.size, sealed.sha256);
        Ok(Layer { content, compression: sealed.compression, diff_id: sealed.diff_id })
    }

    fn member(mut self, name: &str, member: Member) -> Self {
        self.members.push((name.to_owned(), member));
        self
    }

    fn pack<W: Write>(&self, target: W) -> io::Result<(W, Sealed)> {
        let target = Hashing::new(target);
        let (target, diff_id) = match self.compression {
            Compression::None => self.archive(target)?,
            Compression::Gzip => {
                let (packer, diff_id) = self.archive(GzEncoder::new(target, flate2::Compression::fast()))?;
                (packer.finish()?, diff_id)
            }
            Compression::Zstd => {
                let (packer, diff_id) = self.archive(zstd::Encoder::new(target, 1)?)?;
                (packer.finish()?, diff_id)
            }
        };
        let (target, sha256, size) = target.finish();
        Ok((target, Sealed { compression: self.compression, diff_id, sha256, size }))
    }

    /// Writes the tar archive, and gives back what it was written to and its digest.
    fn archive<W: Write>(&self, target: W) -> io::Result<(W, Sha256)> {
        let mut archive = tar::Builder::new(Hashing::new(target));
        for (name, member) in &self.members {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_mode(0o644);
            match member {
                Member::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    header.set_size(0);
                    append(&mut archive, header, &format!("{}/", name.trim_end_matches('/')), io::empty())?;
                }
                Member::File(content) => {
                    header.set_size(content.size());
                    append(&mut archive, header, name, content.open()?)?;
                }
                Member::Blocks(blocks) => archive.get_mut().write_all(blocks)?,
                Member::Symlink(target) | Member::Hardlink(target) => {
                    let symbolic = matches!(member, Member::Symlink(_));
                    header.set_entry_type(if symbolic {
                        tar::EntryType::Symlink
                    } else {
                        tar::EntryType::Link
                    });
                    header.set_size(0);
                    header.set_link_name_literal(target)?;
                    append(&mut archive, header, name, io::empty())?;
                }
            }
        }
        let (target, sha256, _) = archive.into_inner()?.finish();
        Ok((target, sha256))
    }
}

struct Sealed {
    compression: Compression,
    diff_id: Sha256,
    sha256: Sha256,
    size: u64,
}

/// Names go into the header's field as they are: `tar` refuses `..` and takes `./` away.
fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    mut header: tar::Header,
    name: &str,
    data: impl io::Read,
) -> io::Result<()> {
    let field = &mut header.as_old_mut().name;
    if name.len() > field.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("name too long for this builder: {name}"),
        ));
    }
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    archive.append(&header, data)
}
