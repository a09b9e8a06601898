//! The configuration of a boot loader, and how it is edited: other kernel arguments, and further initramfs images.
//!
//! ```text
//! GRUB       linux /images/pxeboot/vmlinuz ARGUMENTS
//!            initrd /images/pxeboot/initrd.img /images/ignition.img
//! isolinux   append initrd=/images/pxeboot/initrd.img,/images/ignition.img ARGUMENTS
//! ```
//!
//! Where there is an area for kernel arguments, it begins with the arguments and includes the line after them.

use std::ops::Range;

use super::arguments::{self, LIVE_ISO};
use crate::{Error, Extent};

/// How the kernel is called in every image that has a boot loader.
const KERNEL: &str = "vmlinuz";

/// The configuration of a boot loader.
pub(super) struct BootConfig {
    pub(super) path: String,
    pub(super) extent: Extent,
    pub(super) text: String,
    dialect: Dialect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Grub,
    Isolinux,
}

/// A configuration after being edited.
pub(super) struct Edited {
    pub(super) text: String,
    /// Where in it the areas now begin.
    pub(super) areas: Vec<u64>,
}

/// An area for kernel arguments in a configuration, and its new content.
pub(super) struct Area {
    pub(super) range: Range<usize>,
    pub(super) content: String,
}

impl Dialect {
    /// What boot loader has its configuration at `path`, if any. Without Rock Ridge a path is in capital letters.
    fn of_path(path: &str) -> Option<Self> {
        let path = path.to_ascii_lowercase();
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["isolinux", "isolinux.cfg"] => Some(Self::Isolinux),
            ["boot", "grub", "grub.cfg"] | ["efi", _, "grub.cfg"] => Some(Self::Grub),
            _ => None,
        }
    }
}

impl Dialect {
    /// What is between the initramfs images in a list.
    const fn separator(self) -> char {
        match self {
            Self::Grub => ' ',
            Self::Isolinux => ',',
        }
    }
}

/// A command that is edited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    /// Has the kernel's arguments.
    Kernel,
    /// Has initramfs images.
    Initramfs,
}

impl Command {
    fn of(line: &str, dialect: Dialect) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let command = words.next()?;
        match dialect {
            Dialect::Grub => match command {
                "linux" | "linux16" | "linuxefi" => Some(Self::Kernel),
                "initrd" | "initrd16" | "initrdefi" => Some(Self::Initramfs),
                _ => None,
            },
            Dialect::Isolinux => match command.to_ascii_lowercase().as_str() {
                // Alone, a hyphen takes back the arguments that were given for all kernels.
                "append" if words.eq(["-"]) => None,
                "append" => Some(Self::Kernel),
                "initrd" => Some(Self::Initramfs),
                _ => None,
            },
        }
    }
}

impl BootConfig {
    pub(super) fn is_at(path: &str) -> bool {
        Dialect::of_path(path).is_some()
    }

    /// Whether a file at `path` may be a configuration, if not one of those known.
    pub(super) fn may_be_at(path: &str) -> bool {
        let suffix = path.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
        suffix.is_some_and(|suffix| matches!(suffix.as_str(), "cfg" | "conf" | "con"))
    }

    /// None if it starts no kernel.
    pub(super) fn new(path: &str, extent: Extent, text: String) -> Option<Self> {
        let dialect = Dialect::of_path(path)?;
        let starts_kernel = text.lines().any(|line| Command::of(line, dialect) == Some(Command::Kernel));
        starts_kernel.then(|| Self { path: path.to_owned(), extent, text, dialect })
    }

    /// The configuration with another `argument`, such `areas`, and `images` behind the initramfs images it loads.
    pub(super) fn edited(&self, argument: &str, areas: &[Area], images: &[&str]) -> Result<Edited, Error> {
        let mut edits = Vec::new();
        for Area { range, content } in areas {
            let before = self.text.get(..range.start).unwrap_or_default();
            if !before.is_empty()
                && !before.ends_with(char::is_whitespace)
                && !content.starts_with(char::is_whitespace)
            {
                edits.push((range.start..range.start, " ".to_owned()));
            }
            edits.push((range.clone(), content.clone()));
        }
        let mut loads_initramfs = false;
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let range = start..start + line.trim_end_matches(['\n', '\r']).len();
            start += line.len();
            // Of a line that leads into an area, only what is before the area is edited here. An area without
            // arguments begins with the end of the line.
            let area =
                areas.iter().find(|area| area.range.start <= range.end && range.start < area.range.end);
            let end = area.map_or(range.end, |area| area.range.start.max(range.start));
            let line = self.text.get(range.start..end).unwrap_or_default();
            let Some(command) = Command::of(line, self.dialect) else { continue };
            let mut new = line.to_owned();
            match (command, self.dialect) {
                (Command::Kernel, Dialect::Grub) => {}
                (Command::Kernel, Dialect::Isolinux) => {
                    if let Some(with_images) = with_images_in_list(line, images) {
                        loads_initramfs = true;
                        new = with_images;
                    }
                }
                (Command::Initramfs, dialect) => {
                    loads_initramfs = true;
                    new = with_images(line, dialect.separator(), images);
                }
            }
            if command == Command::Kernel && area.is_none() {
                new = arguments::edited(&new, argument);
            }
            edits.push((range.start..end, new));
        }
        let malformed = |problem| Error::Malformed { what: self.path.clone(), problem };
        if !loads_initramfs {
            return Err(malformed("it starts a kernel without an initramfs"));
        }
        edits.sort_by_key(|(range, _)| range.start);
        let edited = self
            .apply(&edits, areas)
            .ok_or_else(|| malformed("an area for kernel arguments lies across commands"))?;
        if commands(&edited.text).any(|line| line.contains(LIVE_ISO)) {
            return Err(malformed("it starts a kernel in a way that is not understood"));
        }
        Ok(edited)
    }

    fn apply(&self, edits: &[(Range<usize>, String)], areas: &[Area]) -> Option<Edited> {
        let mut text = String::new();
        let mut end = 0;
        let mut places = vec![0; areas.len()];
        for (range, new) in edits {
            text.push_str(self.text.get(end..range.start)?);
            for (place, area) in places.iter_mut().zip(areas) {
                if area.range == *range {
                    *place = text.len() as u64;
                }
            }
            text.push_str(new);
            end = range.end;
        }
        text.push_str(self.text.get(end..)?);
        Some(Edited { text, areas: places })
    }
}

/// Whether a text looks as if a kernel is started by it.
pub(super) fn names_kernel(text: &str) -> bool {
    commands(text).any(|line| line.contains(LIVE_ISO) || line.contains(KERNEL))
}

/// The lines that are no comments.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with('#'))
}

/// A command with further images behind those it has.
fn with_images(line: &str, separator: char, images: &[&str]) -> String {
    let mut line = line.trim_end().to_owned();
    for image in images {
        line.push(separator);
        line.push_str(image);
    }
    line
}

/// A command with further images in its `initrd=`, if it has that.
fn with_images_in_list(line: &str, images: &[&str]) -> Option<String> {
    let begins_word = |at: &usize| line.get(..*at).is_some_and(|before| before.ends_with([' ', '\t']));
    let at = line.match_indices("initrd=").map(|(at, _)| at).find(begins_word)?;
    let (before, list) = line.split_at(at);
    let (list, after) = list.split_at(list.find([' ', '\t']).unwrap_or(list.len()));
    Some(format!("{before}{}{after}", with_images(list, Dialect::Isolinux.separator(), images)))
}

#[cfg(test)]
mod tests {
    use super::{Area, BootConfig};
    use crate::Extent;

    const NOWHERE: Extent = Extent { offset: 0, len: 0 };

    fn edited(path: &str, text: &str, areas: &[Area]) -> Result<(String, Vec<u64>), String> {
        let config = BootConfig::new(path, NOWHERE, text.to_owned()).ok_or("no kernel")?;
        let edited = config.edited("U", areas, &["/a", "/b"]).map_err(|error| error.to_string())?;
        Ok((edited.text, edited.areas))
    }

    #[test]
    fn commands_of_grub_are_edited() {
        let grub = "set timeout=1\n\tlinux /vmlinuz rw coreos.liveiso=x quiet\n\tinitrd /i /j\n}\n";
        let expected = "set timeout=1\n\tlinux /vmlinuz rw quiet U\n\tinitrd /i /j /a /b\n}\n";
        for path in ["EFI/redhat/grub.cfg", "boot/grub/grub.cfg", "EFI/FEDORA/GRUB.CFG"] {
            assert_eq!(edited(path, grub, &[]).unwrap().0, expected);
        }
    }

    #[test]
    fn commands_of_isolinux_are_edited() {
        let list = "label linux\n  append initrd=/i,/j rw coreos.liveiso=x\n";
        let expected = "label linux\n  append initrd=/i,/j,/a,/b rw U\n";
        assert_eq!(edited("isolinux/isolinux.cfg", list, &[]).unwrap().0, expected);
        let command = "  INITRD /i,/j\r\n  APPEND rw coreos.liveiso=x";
        let expected = "  INITRD /i,/j,/a,/b\r\n  APPEND rw U";
        assert_eq!(edited("isolinux/isolinux.cfg", command, &[]).unwrap().0, expected);
    }

    #[test]
    fn a_list_of_images_may_follow_a_tab() {
        let tabs = "append\tinitrd=/i\tnoinitrd=x rw\n";
        assert_eq!(
            edited("isolinux/isolinux.cfg", tabs, &[]).unwrap().0,
            "append\tinitrd=/i,/a,/b\tnoinitrd=x rw U\n"
        );
        let later = "append noinitrd=x initrd=/i";
        assert_eq!(
            edited("isolinux/isolinux.cfg", later, &[]).unwrap().0,
            "append noinitrd=x initrd=/i,/a,/b U"
        );
    }

    #[test]
    fn a_hyphen_for_no_arguments_stays_alone() {
        let text = "append initrd=/i rw\nlabel local\n  localboot 0\n  append -\n";
        let expected = "append initrd=/i,/a,/b rw U\nlabel local\n  localboot 0\n  append -\n";
        assert_eq!(edited("isolinux/isolinux.cfg", text, &[]).unwrap().0, expected);
        assert_eq!(edited("isolinux/isolinux.cfg", "append -\n", &[]), Err("no kernel".to_owned()));
    }

    #[test]
    fn areas_move_with_the_text_before_them() {
        let text = "append initrd=/i rw\n###\nappend initrd=/k ro\n##\n";
        let area = |at: &str, content: &str| {
            let start = text.find(at).unwrap();
            Area { range: start..start + at.len(), content: content.to_owned() }
        };
        let areas = [area("ro\n##", "ro U\n#"), area("rw\n###", "rw U\n####")];
        let (new, places) = edited("isolinux/isolinux.cfg", text, &areas).unwrap();
        assert_eq!(new, "append initrd=/i,/a,/b rw U\n####\nappend initrd=/k,/a,/b ro U\n#\n");
        assert_eq!(places, [new.find("ro").unwrap() as u64, new.find("rw").unwrap() as u64]);
    }

    #[test]
    fn an_area_without_arguments_follows_a_blank() {
        let text = "\tlinux /vmlinuz\n####\n\tinitrd /i\n";
        let start = text.find("\n###").unwrap();
        let areas = [Area { range: start..start + 5, content: "U\n######".to_owned() }];
        let (new, places) = edited("EFI/redhat/grub.cfg", text, &areas).unwrap();
        assert_eq!(new, "\tlinux /vmlinuz U\n######\n\tinitrd /i /a /b\n");
        assert_eq!(places, [new.find('U').unwrap() as u64]);

        let text = "append initrd=/i coreos.liveiso=x\n#\n";
        let start = text.find(" coreos").unwrap();
        let areas = [Area { range: start..text.len() - 1, content: "U\n#".to_owned() }];
        let (new, places) = edited("isolinux/isolinux.cfg", text, &areas).unwrap();
        assert_eq!(new, "append initrd=/i,/a,/b U\n#\n");
        assert_eq!(places, [new.find('U').unwrap() as u64]);
    }

    #[test]
    fn what_cannot_be_edited_is_told() {
        let text = "\tlinux /vmlinuz rw\n\tinitrd /i\n";
        let areas = [Area { range: text.len() - 3..text.len(), content: String::new() }];
        assert!(edited("EFI/redhat/grub.cfg", text, &areas).is_ok());
        let areas =
            [Area { range: 10..20, content: String::new() }, Area { range: 15..25, content: String::new() }];
        assert!(edited("EFI/redhat/grub.cfg", text, &areas).is_err());
        assert!(edited("EFI/redhat/grub.cfg", "\tlinux /vmlinuz rw\n", &[]).is_err());
        let on_one_line = "menuentry x { linux /vmlinuz coreos.liveiso=x ; initrd /i ; }\n";
        assert_eq!(edited("EFI/redhat/grub.cfg", on_one_line, &[]), Err("no kernel".to_owned()));
        let after_another = format!("{text}{on_one_line}");
        let refused = edited("EFI/redhat/grub.cfg", &after_another, &[]).unwrap_err();
        assert!(refused.ends_with("it starts a kernel in a way that is not understood"), "{refused}");
        let comment = format!("{text}# {on_one_line}");
        assert!(edited("EFI/redhat/grub.cfg", &comment, &[]).unwrap().0.ends_with(&comment[text.len()..]));
        assert_eq!(edited("EFI/redhat/grub.cfg", "configfile /a\n", &[]), Err("no kernel".to_owned()));
        assert!(!BootConfig::is_at("EFI/grub.cfg") && !BootConfig::is_at("images/isolinux.cfg"));
    }
}
