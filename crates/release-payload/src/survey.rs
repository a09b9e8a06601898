//! What the layers of a component image say of its ISOs.
//!
//! An upper layer hides files of the layers below by whiteouts (`.wh.NAME`, `.wh..wh..opq` for all of a directory) and
//! by members of the same name; a whiteout says nothing of the layer that it is in.

use std::io::Read;

use coreos_names::{Arch, Sha256};

use crate::error::excerpt;
use crate::layer::{Kind, Member};
use crate::os_stream::OsStream;
use crate::stream_metadata::{BootImage, StreamMetadata};

/// Stream metadata of four architectures has some 100 KiB.
const MAX_STREAM_METADATA: u64 = 4 << 20;

/// 64 digits, perhaps a line end, perhaps a file name.
const MAX_SIDECAR: u64 = 4096;

/// The files that matter, of one generation of the operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) iso: String,
    /// The ISO's SHA-256 in digits.
    pub(crate) sidecar: String,
    pub(crate) stream_metadata: String,
}

impl Names {
    pub(crate) fn new(stream: OsStream, arch: Arch) -> Self {
        let (prefix, arch) = (stream.prefix(), arch.rpm_name());
        let iso = format!("coreos/{prefix}-{arch}.iso");
        let sidecar = format!("{iso}.sha256");
        Self { iso, sidecar, stream_metadata: format!("coreos/{prefix}-stream.json") }
    }
}

/// What one layer says.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerSurvey([StreamSurvey; 2]);

/// What one layer says of one generation of the operating system.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamSurvey {
    /// Whether the layer has the ISO or hides that of a layer below.
    pub(crate) iso: Option<Fate<()>>,
    /// The same of the file with the SHA-256.
    pub(crate) sidecar: Option<Fate<Option<Sha256>>>,
    /// What the stream metadata says of the architecture.
    pub(crate) boot_image: Option<BootImage>,
    /// What has the ISO's name and is no file that can be read, in words.
    pub(crate) not_a_file: Option<String>,
}

/// What a layer does to a file of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<T> {
    Written(T),
    Hidden,
}

impl LayerSurvey {
    pub(crate) fn of(&self, stream: OsStream) -> &StreamSurvey {
        &self.0[stream as usize]
    }

    pub(crate) fn of_mut(&mut self, stream: OsStream) -> &mut StreamSurvey {
        &mut self.0[stream as usize]
    }

    /// Takes note of a member; contents of an ISO are left for others to read.
    pub(crate) fn note(
        &mut self,
        member: &Member,
        contents: &mut dyn Read,
        arch: Arch,
    ) -> std::io::Result<()> {
        for stream in OsStream::ALL {
            self.of_mut(stream).note(member, contents, &Names::new(stream, arch), arch)?;
        }
        Ok(())
    }
}

impl StreamSurvey {
    fn note(
        &mut self,
        member: &Member,
        contents: &mut dyn Read,
        names: &Names,
        arch: Arch,
    ) -> std::io::Result<()> {
        if member.name == names.iso {
            self.iso = Some(if member.kind == Kind::File { Fate::Written(()) } else { Fate::Hidden });
            self.not_a_file = in_words(&member.kind).or(self.not_a_file.take());
        } else if member.name == names.sidecar {
            self.sidecar =
                Some(if member.kind == Kind::File { Fate::Written(sha256(contents)?) } else { Fate::Hidden });
        } else if member.name == names.stream_metadata && member.kind == Kind::File {
            self.boot_image = boot_image(member, contents, arch)?;
        } else {
            hide(&mut self.iso, &names.iso, member);
            hide(&mut self.sidecar, &names.sidecar, member);
        }
        Ok(())
    }
}

/// What the top of the image has, given what each layer does, from the top down.
pub(crate) fn topmost<T>(
    fates: impl IntoIterator<Item = (usize, Option<Fate<T>>)>,
) -> Option<(usize, Fate<T>)> {
    fates.into_iter().find_map(|(layer, fate)| Some((layer, fate?)))
}

/// Notes if a member hides the file of this name.
fn hide<T>(fate: &mut Option<Fate<T>>, name: &str, member: &Member) {
    let is_within = |directory: &str| {
        directory.is_empty() || name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
    };
    let (directory, base) = member.name.rsplit_once('/').unwrap_or(("", &member.name));
    if let Some(hidden) = base.strip_prefix(".wh.") {
        let hides = if hidden == ".wh..opq" {
            is_within(directory)
        } else {
            let hidden =
                if directory.is_empty() { hidden.to_owned() } else { format!("{directory}/{hidden}") };
            name == hidden || is_within(&hidden)
        };
        if hides && fate.is_none() {
            *fate = Some(Fate::Hidden);
        }
    } else if member.kind != Kind::Directory && is_within(&member.name) {
        // What was a directory is one no more.
        *fate = Some(Fate::Hidden);
    }
}

fn in_words(kind: &Kind) -> Option<String> {
    match kind {
        Kind::File => None,
        Kind::Directory => Some("a directory".to_owned()),
        Kind::HardLink(target) => Some(format!("a hard link to {}", shortened(target))),
        Kind::Symlink(target) => Some(format!("a symbolic link to {}", shortened(target))),
        Kind::SparseFile => Some("a sparse file".to_owned()),
        Kind::Other => Some("something that is not a file".to_owned()),
    }
}

fn shortened(target: &str) -> String {
    const LONGEST: usize = 100;
    format!("{:?}", target.chars().take(LONGEST).collect::<String>())
}

/// The digest in a `.sha256`, which holds nothing else in the images of OpenShift. `sha256sum` would add a file name.
fn sha256(contents: &mut dyn Read) -> std::io::Result<Option<Sha256>> {
    let mut text = Vec::new();
    contents.take(MAX_SIDECAR).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.split_ascii_whitespace().next().and_then(|digits| digits.parse().ok()))
}

/// What cannot be read says nothing; what follows from that is decided where all that is said is known.
fn boot_image(member: &Member, contents: &mut dyn Read, arch: Arch) -> std::io::Result<Option<BootImage>> {
    if member.size > MAX_STREAM_METADATA {
        tracing::warn!(name = member.name, bytes = member.size, "ignoring stream metadata that is too large");
        return Ok(None);
    }
    let mut json = Vec::new();
    contents.read_to_end(&mut json)?;
    Ok(match StreamMetadata::parse(&json) {
        Ok(metadata) => metadata.boot_image(arch).cloned(),
        Err(error) => {
            tracing::warn!(
                name = member.name,
                error = excerpt(&error),
                "ignoring stream metadata that is broken"
            );
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISO: &str = "coreos/coreos-x86_64.iso";

    fn survey(members: &[(&str, Kind, &str)]) -> StreamSurvey {
        let mut survey = LayerSurvey::default();
        for (name, kind, contents) in members {
            let member = Member { name: (*name).to_owned(), kind: kind.clone(), size: contents.len() as u64 };
            survey.note(&member, &mut contents.as_bytes(), Arch::X86_64).unwrap();
        }
        survey.of(OsStream::Rhel9).clone()
    }

    /// Names, kinds and contents of members, and what they do to the ISO.
    type Case<'a> = (&'a [(&'a str, Kind, &'a str)], Option<Fate<()>>);

    #[test]
    fn whiteouts_and_replacements_hide_what_is_below() {
        let written = Some(Fate::Written(()));
        let file = |name| (name, Kind::File, "");
        let cases: &[Case<'_>] = &[
            (&[file(ISO)], written),
            (&[file("coreos/.wh.coreos-x86_64.iso")], Some(Fate::Hidden)),
            (&[file(".wh.coreos")], Some(Fate::Hidden)),
            (&[file("coreos/.wh..wh..opq")], Some(Fate::Hidden)),
            (&[file(".wh..wh..opq")], Some(Fate::Hidden)),
            (&[("coreos", Kind::Symlink("usr".to_owned()), "")], Some(Fate::Hidden)),
            (&[file("coreos")], Some(Fate::Hidden)),
            (&[(ISO, Kind::HardLink("x".to_owned()), "")], Some(Fate::Hidden)),
            (&[("coreos", Kind::Directory, "")], None),
            (&[file("coreos/.wh.coreos-x86_64.is")], None),
            (&[file(".wh.core")], None),
            (&[file("coreos/sub/.wh..wh..opq")], None),
            (&[file("coreos/.wh..wh.plnk")], None),
            (&[file("usr/.wh.coreos")], None),
            (&[file("coreos/coreos10-x86_64.iso")], None),
            // A whiteout is about the layers below, wherever it stands.
            (&[file(ISO), file("coreos/.wh..wh..opq")], written),
            (&[file(".wh.coreos"), file(ISO)], written),
            // Of several members the last counts.
            (&[file(ISO), (ISO, Kind::Symlink("x".to_owned()), "")], Some(Fate::Hidden)),
            (&[(ISO, Kind::Symlink("x".to_owned()), ""), file(ISO)], written),
            (&[file(ISO), ("coreos", Kind::Symlink("x".to_owned()), "")], Some(Fate::Hidden)),
        ];
        for (members, expected) in cases {
            assert_eq!(survey(members).iso, *expected, "{members:?}");
        }
        assert_eq!(
            survey(&[(ISO, Kind::HardLink("etc/x".to_owned()), "")]).not_a_file.as_deref(),
            Some("a hard link to \"etc/x\"")
        );
    }

    #[test]
    fn the_sidecar_is_read_in_every_form() {
        let (digest, name) = ("ab".repeat(32), "coreos/coreos-x86_64.iso.sha256");
        let expected = Some(Sha256::from([0xab; 32]));
        for (text, expected) in [
            (digest.clone(), expected),
            (format!("{digest}\n"), expected),
            (format!("{digest}  coreos-x86_64.iso\n"), expected),
            (digest[1..].to_owned(), None),
            (String::new(), None),
            ("x".repeat(10_000), None),
        ] {
            assert_eq!(
                survey(&[(name, Kind::File, &text)]).sidecar,
                Some(Fate::Written(expected)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn broken_stream_metadata_says_nothing() {
        for json in ["", "{", "[]", "{\"architectures\": 7}"] {
            assert_eq!(survey(&[("coreos/coreos-stream.json", Kind::File, json)]).boot_image, None);
        }
    }
}
