//! EROFS by `erofs-rs`, through its asynchronous face: unlike the other one, it reads into buffers of its own and needs
//! no mapped file. Our reads never wait, so its futures are ready when they are first asked.
//!
//! The crate bounds what one extent may unpack to. What it leaves open is bounded here: how much is read in all, and
//! with it how long all takes. Compressed metadata is refused, since the crate unpacks it anew for every few bytes; no
//! builder of live ISOs makes any.

use std::future::{self, Future};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use erofs_rs::r#async::{EroFS, WalkDir};
use erofs_rs::backend::AsyncImage;
use erofs_rs::types::{Inode, Layout};

use super::deployment::{DIRECTORY_BYTES_MAX, Kind, Named, Tree, too_many_directories};
use super::image::Image;
use super::{RootfsCompression, RootfsError, RootfsFileSystem, RootfsInfo};
use crate::ReadAt;

const SUPERBLOCK: usize = 1024;
const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();

/// Features that change the format. A reader must know all that are used.
mod feature {
    pub(super) const ZERO_PADDING: u32 = 1;
    pub(super) const COMPRESSION_CONFIGS: u32 = 1 << 1;
    pub(super) const METABOX: u32 = 1 << 8;
}

/// What a block may have, as a power of two. Builders use 12, and 16 for kernels with such pages.
const BLOCK_LOG: std::ops::RangeInclusive<u8> = 9..=16;

/// In all, for one program. The largest takes some 20,000 if it is not compressed, a block at a time; compressed ones
/// take a few for each extent.
const READS_MAX: u64 = 1 << 20;
/// Twice the largest program, were it stored as it is.
const BYTES_MAX: u64 = 128 << 20;

/// Whether there is an EROFS, of which these are the first bytes.
pub(super) fn begins(image: &[u8]) -> bool {
    image.get(SUPERBLOCK..).is_some_and(|superblock| superblock.starts_with(&MAGIC))
}

/// What the superblock says, also that of an EROFS which cannot be read here.
pub(super) fn info<R: ReadAt + ?Sized>(image: &Image<'_, R>) -> Result<RootfsInfo, RootfsError> {
    let superblock = Superblock::read(image)?;
    let known = [
        RootfsCompression::Lz4,
        RootfsCompression::Lzma,
        RootfsCompression::Deflate,
        RootfsCompression::Zstd,
    ];
    let compressions = if superblock.features & feature::COMPRESSION_CONFIGS != 0 {
        let used = (0..).zip(known).filter(|(bit, _)| superblock.compressions & (1 << bit) != 0);
        used.map(|(_, compression)| compression).collect()
    } else if superblock.features & feature::ZERO_PADDING != 0 {
        vec![RootfsCompression::Lz4]
    } else {
        Vec::new()
    };
    Ok(RootfsInfo { file_system: RootfsFileSystem::Erofs, compressions })
}

struct Superblock {
    block_log: u8,
    features: u32,
    compressions: u16,
}

impl Superblock {
    fn read<R: ReadAt + ?Sized>(image: &Image<'_, R>) -> Result<Self, RootfsError> {
        let bytes = image.read("the superblock of the EROFS", SUPERBLOCK as u64, 128)?;
        let [block_log] = field(&bytes, 12);
        Ok(Self {
            block_log,
            features: u32::from_le_bytes(field(&bytes, 80)),
            compressions: u16::from_le_bytes(field(&bytes, 84)),
        })
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// An EROFS that files can be read from.
pub(super) struct Erofs<'a, R: ReadAt + Sync + ?Sized> {
    erofs: EroFS<Reads<'a, R>>,
}

impl<'a, R: ReadAt + Sync + ?Sized> Erofs<'a, R> {
    pub(super) fn open(image: &'a Image<'a, R>) -> Result<Self, RootfsError> {
        let superblock = Superblock::read(image)?;
        if !BLOCK_LOG.contains(&superblock.block_log) {
            let what = format!("an EROFS with blocks of 2^{} bytes", superblock.block_log);
            return Err(RootfsError::Unsupported { what });
        }
        if superblock.features & feature::METABOX != 0 {
            return Err(RootfsError::Unsupported { what: "an EROFS with a metabox".to_owned() });
        }
        let reads = Reads { image, count: AtomicU64::new(0), bytes: AtomicU64::new(0) };
        let erofs = wait(EroFS::new(reads)).map_err(|error| understand("the EROFS", error))?;
        Ok(Self { erofs })
    }

    fn entries(&self, directory: &Node) -> Result<Entries<'_, 'a, R>, RootfsError> {
        let inode = &directory.inode;
        let len = inode.data_size();
        if len > DIRECTORY_BYTES_MAX {
            let what = directory.what();
            return Err(RootfsError::TooLarge { what, len, max: DIRECTORY_BYTES_MAX });
        }
        if matches!(inode.layout(), Some(Layout::CompressedFull | Layout::CompressedCompact)) {
            let what = "an EROFS with compressed directories".to_owned();
            return Err(RootfsError::Unsupported { what });
        }
        let walk = wait(self.erofs.read_dir(&directory.path));
        Ok(Entries {
            walk: walk.map_err(|error| understand(directory.what(), error))?,
            what: directory.what(),
        })
    }
}

/// A file or directory, with its path, which the crate wants whenever a directory is to be read.
pub(super) struct Node {
    path: Vec<u8>,
    inode: Inode,
}

impl Node {
    fn what(&self) -> String {
        format!("{:?} in the EROFS", String::from_utf8_lossy(&self.path))
    }
}

/// The entries of a directory.
struct Entries<'e, 'a, R: ReadAt + Sync + ?Sized> {
    walk: WalkDir<'e, Reads<'a, R>>,
    what: String,
}

impl<R: ReadAt + Sync + ?Sized> Iterator for Entries<'_, '_, R> {
    type Item = Result<(Vec<u8>, Node), RootfsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match wait(self.walk.next_entry())? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(understand(self.what.as_str(), error))),
        };
        let path = entry.dir_entry.path().into_vec();
        Some(Ok((entry.dir_entry.file_name().to_vec(), Node { path, inode: entry.inode })))
    }
}

impl<R: ReadAt + Sync + ?Sized> Tree for Erofs<'_, R> {
    type Node = Node;

    fn root(&self) -> Result<Node, RootfsError> {
        let inode = wait(self.erofs.get_inode(self.erofs.super_block().root_inode_id()));
        let inode = inode.map_err(|error| understand("the root directory of the EROFS", error))?;
        Ok(Node { path: b"/".to_vec(), inode })
    }

    fn find(&self, directory: &Node, name: &str) -> Result<Option<Node>, RootfsError> {
        for entry in self.entries(directory)? {
            let (found, node) = entry?;
            if found == name.as_bytes() {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    fn directories(&self, directory: &Node, max: usize) -> Result<Vec<Named<Node>>, RootfsError> {
        let mut directories = Vec::new();
        for entry in self.entries(directory)? {
            let (name, node) = entry?;
            if !node.inode.is_dir() {
                continue;
            }
            if directories.len() == max {
                return Err(too_many_directories(max));
            }
            directories.push((name, node));
        }
        Ok(directories)
    }

    fn kind(&self, node: &Node) -> Kind {
        if node.inode.is_dir() {
            Kind::Directory
        } else if node.inode.is_file() {
            Kind::File
        } else {
            Kind::Other
        }
    }

    fn read(&self, file: &Node, max: u64) -> Result<Vec<u8>, RootfsError> {
        let understand = |error| understand(file.what(), error);
        let len = file.inode.data_size();
        if len > max {
            return Err(RootfsError::TooLarge { what: file.what(), len, max });
        }
        let mut reader = self.erofs.open_inode_file(file.inode).map_err(understand)?;
        // Grows with what is really there, not with what the inode promises.
        let mut content = Vec::new();
        let mut buf = vec![0; 64 << 10];
        loop {
            let read = wait(reader.read(&mut buf)).map_err(understand)?;
            content.extend_from_slice(buf.get(..read).unwrap_or_default());
            if read == 0 {
                break;
            }
        }
        if content.len() as u64 == len {
            Ok(content)
        } else {
            Err(RootfsError::malformed(file.what(), "it ends too early"))
        }
    }
}

/// The reads of the crate, counted.
struct Reads<'a, R: ?Sized> {
    image: &'a Image<'a, R>,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl<R: ReadAt + ?Sized> Reads<'_, R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> erofs_rs::Result<()> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        if count >= READS_MAX || bytes >= BYTES_MAX {
            let problem = "it needs more reads than any that is known".to_owned();
            return Err(erofs_rs::Error::CorruptedData(problem));
        }
        Ok(self.image.read_exact_at(buf, offset)?)
    }
}

impl<R: ReadAt + Sync + ?Sized> AsyncImage for Reads<'_, R> {
    fn read_exact_at(
        &self,
        buf: &mut [u8],
        offset: u64,
    ) -> impl Future<Output = erofs_rs::Result<()>> + Send {
        future::ready(self.read_exact_at(buf, offset))
    }
}

/// The result of a future that waits for nothing but [`Reads`].
fn wait<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("every read is ready at once, and nothing else is waited for"),
    }
}

fn understand(what: impl Into<String>, error: erofs_rs::Error) -> RootfsError {
    match error {
        erofs_rs::Error::Io(error) => RootfsError::from_io(what, error),
        erofs_rs::Error::NotSupported(form) => {
            RootfsError::Unsupported { what: format!("an EROFS with {form}") }
        }
        // As text: some of these repeat their source in what they say.
        other => {
            let source = io::Error::new(io::ErrorKind::InvalidData, other.to_string());
            RootfsError::Corrupt { what: what.into(), source }
        }
    }
}
