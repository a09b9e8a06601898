//! The files that say where else images are: registries.conf with its drop-ins, and OpenShift's mirror sets.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_registry::{MirrorRule, Mirrors, RegistriesConf};
use release_payload::mirror_sets;

use super::{Merged, Problems};

/// Where container tools have their file.
const REGISTRIES_CONF: &str = "/etc/containers/registries.conf";

/// Reads both files. What registries.conf says of a place goes before what the mirror sets say of the same place.
///
/// A broken registries.conf that nobody named is a problem only if something is pulled: a machine's other tools may have
/// left it there.
pub(super) fn read(
    merged: &Merged,
    pulls: bool,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Mirrors {
    let conf = registries_conf(merged, Path::new(REGISTRIES_CONF), pulls, problems, warnings);
    let sets = merged.path("DIGEST_MIRRORS_FILE").map(|path| (mirror_sets_of(&path), path));
    let sets = sets.and_then(|(sets, path)| match sets {
        Ok(sets) => Some(sets),
        Err(found) => {
            for problem in found {
                problems.add(format!("DIGEST_MIRRORS_FILE={}: {problem}", path.display()));
            }
            None
        }
    });
    Mirrors::new(conf.into_rules().chain(sets.into_iter().flatten()))
}

fn mirror_sets_of(path: &Path) -> Result<Vec<MirrorRule>, Vec<String>> {
    let yaml =
        text_of(path, mirror_sets::MAX_SIZE).map_err(|error| vec![format!("cannot be read: {error}")])?;
    mirror_sets::parse(&yaml).map_err(|invalid| invalid.problems)
}

fn registries_conf(
    merged: &Merged,
    default: &Path,
    pulls: bool,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> RegistriesConf {
    let named = merged.path("REGISTRIES_CONF");
    let path = named.as_deref().unwrap_or(default);
    let mut found = Vec::new();
    let conf = with_drop_ins(path, named.is_some(), &mut found);
    if found.is_empty() {
        warnings.extend(conf.warnings().iter().map(|warning| format!("REGISTRIES_CONF: {warning}")));
        return conf;
    }
    let found = found.into_iter().map(|problem| format!("REGISTRIES_CONF: {problem}"));
    if named.is_some() || pulls {
        for problem in found {
            problems.add(problem);
        }
    } else {
        warnings.extend(found.map(|problem| format!("{problem}; the file is ignored")));
    }
    RegistriesConf::default()
}

/// A file, and the `*.conf` in the directory beside it that is called after it, in the order of their names.
fn with_drop_ins(path: &Path, required: bool, problems: &mut Vec<String>) -> RegistriesConf {
    let mut conf = RegistriesConf::default();
    let drop_ins = drop_ins(path).unwrap_or_else(|(directory, error)| {
        problems.push(format!("{}: cannot be read: {error}", directory.display()));
        Vec::new()
    });
    for file in [path].into_iter().chain(drop_ins.iter().map(PathBuf::as_path)) {
        match text_of(file, RegistriesConf::MAX_SIZE) {
            Err(error) if file == path && !required && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problems.push(format!("{}: cannot be read: {error}", file.display())),
            Ok(text) => match RegistriesConf::parse(&file.display().to_string(), &text) {
                Ok(read) => conf.override_by(read),
                Err(invalid) => problems.extend(invalid.problems),
            },
        }
    }
    conf
}

fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut directory = OsString::from(path);
    directory.push(".d");
    let directory = PathBuf::from(directory);
    let files = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        }),
    };
    let mut files = files.map_err(|error| (directory, error))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf") && !file.is_dir());
    files.sort();
    Ok(files)
}

/// The text of a file that has at most so many bytes, whatever it claims to have.
fn text_of(path: &Path, max_size: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_size).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > max_size {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {max_size} bytes"),
        ));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use oci_registry::Mirrors;
    use tempfile::TempDir;

    use super::super::table;
    use super::*;

    fn merged(registries_conf: Option<&Path>) -> Merged {
        let command = table::add_flags(clap::Command::new("test"), &[table::REGISTRY]);
        let matches = command.try_get_matches_from(["test"]).unwrap();
        Merged::new(&[table::REGISTRY], &matches, |variable| {
            registries_conf.filter(|_| variable == "REGISTRIES_CONF").map(OsString::from)
        })
    }

    /// What is read where the file of container tools is at `default`: the rules, the problems, the warnings.
    fn read(named: Option<&Path>, default: &Path, pulls: bool) -> (Mirrors, Vec<String>, Vec<String>) {
        let (mut problems, mut warnings) = (Problems::default(), Vec::new());
        let conf = registries_conf(&merged(named), default, pulls, &mut problems, &mut warnings);
        (Mirrors::new(conf.into_rules()), problems.0, warnings)
    }

    fn places(mirrors: &Mirrors, image: &str) -> Vec<String> {
        let sources = mirrors.pull_sources(&image.parse().unwrap()).unwrap();
        sources.iter().map(|source| source.reference.to_string()).collect()
    }

    fn table(location: &str, mirror: &str) -> String {
        format!("[[registry]]\nlocation = '{location}'\n[[registry.mirror]]\nlocation = '{mirror}'\n")
    }

    #[test]
    fn drop_ins_override_the_file_in_the_order_of_their_names() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("registries.conf");
        let drop_ins = directory.path().join("registries.conf.d");
        fs::create_dir_all(drop_ins.join("directory.conf")).unwrap();
        fs::write(&file, table("a.lab", "file.lab") + &table("b.lab", "file.lab")).unwrap();
        for (name, text) in [
            ("2.conf", table("a.lab", "second.lab")),
            ("10.conf", table("a.lab", "first.lab") + &table("c.lab", "first.lab")),
            ("3.conf.disabled", "not TOML".to_owned()),
        ] {
            fs::write(drop_ins.join(name), text).unwrap();
        }
        for (named, default) in [(Some(file.as_path()), Path::new("/nowhere")), (None, &file)] {
            let (mirrors, problems, warnings) = read(named, default, true);
            assert_eq!((problems, warnings), (vec![], vec![]));
            assert_eq!(places(&mirrors, "a.lab/x:1"), ["second.lab/x:1", "a.lab/x:1"]);
            assert_eq!(places(&mirrors, "b.lab/x:1"), ["file.lab/x:1", "b.lab/x:1"]);
            assert_eq!(places(&mirrors, "c.lab/x:1"), ["first.lab/x:1", "c.lab/x:1"]);
        }
        fs::remove_file(&file).unwrap();
        let (mirrors, problems, _) = read(None, &file, true);
        assert_eq!(problems, Vec::<String>::new(), "drop-ins need no file");
        assert_eq!(places(&mirrors, "a.lab/x:1").len(), 2);
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there_and_the_usual_one_has_not() {
        let nowhere = Path::new("/nowhere/registries.conf");
        let (mirrors, problems, warnings) = read(None, nowhere, true);
        assert!(mirrors.is_empty() && problems.is_empty() && warnings.is_empty());
        for pulls in [true, false] {
            let (_, problems, _) = read(Some(nowhere), nowhere, pulls);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with("REGISTRIES_CONF: /nowhere/registries.conf: cannot be read: "));
        }
    }

    #[test]
    fn a_broken_usual_file_is_a_problem_only_where_something_is_pulled() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("registries.conf");
        fs::write(&file, "[[registry]]\n").unwrap();
        let expected = format!(
            "REGISTRIES_CONF: {}: [[registry]] 1: neither prefix nor location is given",
            file.display()
        );

        let (_, problems, warnings) = read(None, &file, true);
        assert_eq!((problems, warnings), (vec![expected.clone()], vec![]));
        let (mirrors, problems, warnings) = read(None, &file, false);
        assert!(mirrors.is_empty());
        assert_eq!((problems, warnings), (vec![], vec![format!("{expected}; the file is ignored")]));
        let (_, problems, _) = read(Some(&file), Path::new("/nowhere"), false);
        assert_eq!(problems, [expected]);
    }

    #[test]
    fn files_without_end_are_not_read_to_their_end() {
        let (_, problems, _) = read(Some(Path::new("/dev/zero")), Path::new("/nowhere"), true);
        assert_eq!(problems, ["REGISTRIES_CONF: /dev/zero: cannot be read: it is larger than 1048576 bytes"]);
    }
}
