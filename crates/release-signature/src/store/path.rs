//! Signatures in files, as they are copied from a web server or written by mirroring tools.
//!
//! | file | who writes it |
//! |---|---|
//! | `sha256=<digest>/signature-<number>` | a copy of a web server's directory |
//! | `<anything>sha256-<digest>`, also with `-<number>` | oc-mirror v2 (`working-dir/signatures`), a mounted ConfigMap |
//! | `signature-sha256-<first digits>.json` | `oc adm release mirror`, oc-mirror v1 |
//! | any other `*.json`, `*.yaml`, `*.yml` | oc-mirror v2 (`signature-configmap.json`), `oc get configmap -o yaml` |

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use coreos_names::Sha256;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Bundle, MAX_SIGNATURE, MAX_SIGNATURES, Unreadable, config_map};

/// A ConfigMap has at most 1 MiB, and a list of them has hardly more.
const MAX_CONFIG_MAPS: usize = 16 << 20;

/// How many entries of a directory are looked at.
const MAX_ENTRIES: usize = 100_000;

/// How many files that are named after the same digest, or may hold anything, are read.
const MAX_FILES: usize = 100;

/// All signatures for a digest in a file or directory.
pub(crate) fn find(path: &Path, digest: Sha256) -> Result<Vec<Bundle>, Unreadable> {
    if fs::metadata(path)?.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A file that is named by the admin needs no telling name.
        let content = match Kind::of(&name, digest) {
            Kind::ConfigMaps => read_config_maps(path, digest),
            Kind::Other if has_extension(&name) => return Ok(Vec::new()),
            Kind::Signature | Kind::Other => read_signature(path),
        };
        return Ok(vec![Bundle { place: "it".to_owned(), content }]);
    }
    let mut found = Vec::new();
    for number in 1..=MAX_SIGNATURES {
        let place = format!("sha256={digest}/signature-{number}");
        match read_signature(&path.join(&place)) {
            Err(Unreadable::File(error)) if error.kind() == io::ErrorKind::NotFound => break,
            content => found.push(Bundle { place, content }),
        }
    }
    let mut names: Vec<_> = fs::read_dir(path)?
        .take(MAX_ENTRIES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && Kind::of(name, digest) != Kind::Other)
        .filter(|name| fs::metadata(path.join(name)).is_ok_and(|metadata| metadata.is_file()))
        .collect();
    // Those that are named after the digest come first.
    names.sort_by_cached_key(|name| (!name.contains("sha256-"), name.clone()));
    for name in names.into_iter().take(MAX_FILES) {
        let file = path.join(&name);
        let content = match Kind::of(&name, digest) {
            Kind::ConfigMaps => read_config_maps(&file, digest),
            Kind::Signature | Kind::Other => read_signature(&file),
        };
        if content.as_ref().is_ok_and(Vec::is_empty) {
            continue;
        }
        found.push(Bundle { place: name, content });
    }
    Ok(found)
}

/// What a file is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A signature for the digest.
    Signature,
    /// ConfigMaps that may have signatures for it.
    ConfigMaps,
    /// Something else, or for another digest.
    Other,
}

impl Kind {
    fn of(name: &str, digest: Sha256) -> Self {
        let digest = digest.to_string();
        let of_digest = name.split_once("sha256-").map(|(_, rest)| {
            let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
            rest.split_at(end)
        });
        match of_digest {
            _ if has_extension(name) => match of_digest {
                Some((digits, _)) if digits.len() >= 8 && !digest.starts_with(digits) => Self::Other,
                _ => Self::ConfigMaps,
            },
            Some((digits, rest)) if digits == digest && (rest.is_empty() || rest.starts_with('-')) => {
                Self::Signature
            }
            _ => Self::Other,
        }
    }
}

fn has_extension(name: &str) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    ["json", "yaml", "yml"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn read_config_maps(path: &Path, digest: Sha256) -> Result<Vec<Result<Vec<u8>, Unreadable>>, Unreadable> {
    config_map::signatures(&read(path, MAX_CONFIG_MAPS)?, digest)
}

fn read_signature(path: &Path) -> Result<Vec<Result<Vec<u8>, Unreadable>>, Unreadable> {
    read(path, MAX_SIGNATURE).map(|bytes| vec![Ok(bytes)])
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Unreadable> {
    /// A pipe without a writer must not hold us up, a terminal not become ours.
    const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
    let file = match rustix::fs::open(path, OPEN, Mode::empty()) {
        Ok(fd) => File::from(fd),
        // A socket, or a device that is none.
        Err(Errno::NXIO | Errno::NODEV) => return Err(Unreadable::NotAFile),
        Err(errno) => return Err(Unreadable::File(errno.into())),
    };
    if !file.metadata()?.is_file() {
        return Err(Unreadable::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(Unreadable::TooLarge { limit }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use coreos_names::Sha256;

    use super::Kind;

    #[test]
    fn names_say_what_files_are() {
        let digest = Sha256::from([0xab; 32]);
        let (whole, first) = ("ab".repeat(32), "ab".repeat(8));
        for (name, kind) in [
            (format!("4.18.52-x86_64-sha256-{whole}"), Kind::Signature),
            (format!("sha256-{whole}-1"), Kind::Signature),
            (format!("sha256-{whole}"), Kind::Signature),
            (format!("sha256-{whole}ab"), Kind::Other),
            (format!("sha256-{first}"), Kind::Other),
            (format!("sha256-{}", "cd".repeat(32)), Kind::Other),
            (format!("signature-sha256-{first}.json"), Kind::ConfigMaps),
            (format!("signature-sha256-{}.json", "cd".repeat(8)), Kind::Other),
            ("signature-configmap.json".to_owned(), Kind::ConfigMaps),
            ("signature-configmap.yaml".to_owned(), Kind::ConfigMaps),
            ("signatures.YML".to_owned(), Kind::ConfigMaps),
            ("readme.txt".to_owned(), Kind::Other),
        ] {
            assert_eq!(Kind::of(&name, digest), kind, "{name}");
        }
    }
}
