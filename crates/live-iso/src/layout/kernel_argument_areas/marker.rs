//! Areas that nothing describes, found by the comment that follows each in a boot loader's configuration:
//!
//! ```text
//! linux /images/pxeboot/vmlinuz ARGUMENTS\n####...#### COREOS_KARG_EMBED_AREA
//!   append initrd=IMAGE,IMAGE ARGUMENTS\n####...#### COREOS_KARG_EMBED_AREA
//! ```
//!
//! This is how the predecessor of this service finds every area.

use std::ops::Range;

/// The configurations that may have one, of which an ISO has one or two.
pub(super) const CONFIGURATIONS: [&str; 5] = [
    "EFI/redhat/grub.cfg",
    "EFI/fedora/grub.cfg",
    "EFI/centos/grub.cfg",
    "boot/grub/grub.cfg",
    "isolinux/isolinux.cfg",
];

const MARKER: &[u8] = b"# COREOS_KARG_EMBED_AREA";

/// The areas in a configuration, one for each menu entry that has one: the arguments, the newline and the run of `#`
/// before the marker.
pub(super) fn find(configuration: &[u8]) -> Result<Vec<Range<usize>>, &'static str> {
    let markers = configuration.windows(MARKER.len()).enumerate().filter(|(_, window)| *window == MARKER);
    markers
        .filter_map(|(marker, _)| Some((line_before(configuration, marker)?, marker)))
        .map(|(line, marker)| {
            let arguments = configuration.get(line.clone()).and_then(arguments);
            let arguments = arguments.ok_or("what it follows is no command that starts a kernel")?;
            Ok(line.end - arguments.len()..marker)
        })
        .collect()
}

/// The line that ends where the run of `#` in front of `marker` begins.
fn line_before(configuration: &[u8], marker: usize) -> Option<Range<usize>> {
    let newline = configuration.get(..marker)?.iter().rposition(|byte| *byte != b'#')?;
    let lines = configuration.get(..=newline)?.strip_suffix(b"\n")?;
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Some(start..newline)
}

/// What a command passes to the kernel: all that follows the command and its first word.
fn arguments(line: &[u8]) -> Option<&[u8]> {
    let (command, rest) = word(line)?;
    let (operand, arguments) = word(rest)?;
    let starts_kernel = match command {
        b"linux" | b"linux16" | b"linuxefi" => true,
        b"append" => operand.starts_with(b"initrd="),
        _ => false,
    };
    starts_kernel.then(|| arguments.get(1..).unwrap_or_default())
}

/// The first word of a line, and what follows it.
fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let len = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    line.split_at_checked(len).filter(|(word, _)| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::find;

    fn found(configuration: &str) -> Result<Vec<&str>, &'static str> {
        Ok(find(configuration.as_bytes())?.into_iter().map(|area| &configuration[area]).collect())
    }

    #[test]
    fn an_area_is_arguments_newline_and_filling() {
        for (configuration, area) in [
            ("\tlinux /vmlinuz a b=c\n#### COREOS_KARG_EMBED_AREA\n\tinitrd /i", "a b=c\n###"),
            ("x\n  append initrd=/i,/j a b \n## COREOS_KARG_EMBED_AREA\n", "a b \n#"),
            ("linuxefi  /vmlinuz a\n# COREOS_KARG_EMBED_AREA", "a\n"),
            ("linux /vmlinuz  a\n# COREOS_KARG_EMBED_AREA", " a\n"),
            ("linux /vmlinuz \n# COREOS_KARG_EMBED_AREA", "\n"),
            ("linux /vmlinuz\n# COREOS_KARG_EMBED_AREA", "\n"),
        ] {
            assert_eq!(found(configuration), Ok(vec![area]), "{configuration:?}");
        }
    }

    #[test]
    fn without_a_marker_of_its_own_line_there_is_none() {
        for configuration in [
            "",
            "linux /vmlinuz a\n",
            "linux /vmlinuz a\n#### COREOS_KARG_EMBED",
            "linux /vmlinuz a # COREOS_KARG_EMBED_AREA",
            "# COREOS_KARG_EMBED_AREA",
        ] {
            assert_eq!(found(configuration), Ok(vec![]), "{configuration:?}");
        }
    }

    #[test]
    fn a_marker_must_follow_a_command() {
        for line in ["", "\n", "linux", "append a b", "initrd /i", "# linux /vmlinuz a"] {
            let configuration = format!("{line}\n## COREOS_KARG_EMBED_AREA");
            let expected = Err("what it follows is no command that starts a kernel");
            assert_eq!(found(&configuration), expected, "{line:?}");
        }
    }

    #[test]
    fn each_menu_entry_may_have_an_area() {
        let entry = "menuentry 'x' {\n\tlinux /vmlinuz a\n### COREOS_KARG_EMBED_AREA\n\tinitrd /i\n}\n";
        assert_eq!(found(&entry.repeat(2)), Ok(vec!["a\n##"; 2]));
        let without = "menuentry 'y' {\n\tlinux /vmlinuz b\n}\n";
        assert_eq!(found(&[entry, without, entry].concat()), Ok(vec!["a\n##"; 2]));
    }
}
