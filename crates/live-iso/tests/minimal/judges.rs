//! Programs that read ISOs and are not ours, and the images they judge.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use live_iso::{Customization, Extent, Layout, MinimalIso, ReadAt as _, RootfsUrl};
use tempfile::NamedTempFile;

pub(crate) const URL: &str =
    "http://images.example.com:8888/boot-artifacts/rootfs?arch=x86_64&version=418.94";
pub(crate) const NMSTATE: &[u8] = &[0x5a; 70_001];

pub(crate) fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/fixtures/{name}.iso"));
    assert!(path.exists(), "{} does not exist: run `make fixtures`", path.display());
    path
}

/// An ISO and its minimal image.
pub(crate) struct Pair {
    pub(crate) iso: File,
    pub(crate) path: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) minimal: MinimalIso,
    pub(crate) has_nmstate: bool,
}

impl Pair {
    pub(crate) fn of(path: &Path) -> Self {
        let iso = File::open(path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        let url: RootfsUrl = URL.parse().unwrap();
        let has_nmstate = !path.to_string_lossy().contains("s390x");
        let minimal = layout.minimal(&url, has_nmstate.then_some(NMSTATE.len() as u64)).unwrap();
        Self { iso, path: path.to_owned(), layout, minimal, has_nmstate }
    }

    pub(crate) fn write(&self, customization: &Customization) -> NamedTempFile {
        let plan = self.minimal.plan(customization).unwrap();
        assert_eq!(plan.len(), self.minimal.size());
        let mut file = NamedTempFile::new().unwrap();
        plan.write_to(&self.iso, NMSTATE, &mut file).unwrap();
        file
    }
}

/// A program's output, of which standard error may say anything.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    let output = output(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed: {errors}");
    output
}

fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    let home = |variable, below: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(below));
    let cache = home("XDG_CACHE_HOME", "").or_else(|| home("HOME", ".cache")).unwrap_or_default();
    let mut path = cache.join("coreos-image-service/tools/bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path.push(":/usr/sbin");
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    output.unwrap_or_else(|error| panic!("{program} does not run: {error}"))
}

/// All that sgdisk says of a GPT, but for where partitions had better end. It complains of those of isohybrid, whose
/// partitions overlap; and of checksums, copies and sizes, if they are wrong.
pub(crate) fn sgdisk(iso: &Path) -> String {
    let Output { stdout, stderr, .. } = output("sgdisk", &["--verify".as_ref(), iso.as_os_str()]);
    let report = String::from_utf8([stdout, stderr].concat()).unwrap();
    let is_advice =
        |part: &&str| part.starts_with("Caution: Partition ") && part.contains("-sector boundary");
    report.split("\n\n").filter(|part| !is_advice(part)).collect::<Vec<_>>().join("\n\n")
}

/// Start, end, count of sectors and type of each partition that fdisk sees in the MBR.
pub(crate) fn fdisk(iso: &Path) -> Vec<String> {
    let arguments = ["--list", "--output", "Start,End,Sectors,Id", "--color=never"].map(OsStr::new);
    let report = run("fdisk", &[&arguments[..], &[iso.as_os_str()]].concat());
    assert!(report.stderr.is_empty(), "{}", String::from_utf8_lossy(&report.stderr));
    let report = String::from_utf8(report.stdout).unwrap();
    let table = report.lines().skip_while(|line| !line.trim_start().starts_with("Start")).skip(1);
    table.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

pub(crate) fn coreos_installer(arguments: &[&str], iso: &Path) -> String {
    let mut all = vec![OsStr::new("iso")];
    all.extend(arguments.iter().map(OsStr::new));
    all.push(iso.as_os_str());
    String::from_utf8(run("coreos-installer", &all).stdout).unwrap()
}

/// What xorriso finds in an ISO. It must find nothing to complain of.
pub(crate) fn xorriso(iso: &Path) -> String {
    let reports =
        ["-report_el_torito", "plain", "-report_system_area", "plain", "-find", "/", "-exec", "lsdl"];
    let mut arguments = vec![OsStr::new("-indev"), iso.as_os_str()];
    arguments.extend(reports.iter().map(OsStr::new));
    let output = run("xorriso", &arguments);
    let notes = String::from_utf8(output.stderr).unwrap();
    for line in notes.lines() {
        let severity = line.split(" : ").nth(1).unwrap_or_default();
        let complains = matches!(severity, "WARNING" | "SORRY" | "MISHAP" | "FAILURE" | "FATAL");
        assert!(!complains && !line.starts_with("libiso"), "{}: {notes}", iso.display());
    }
    notes + &String::from_utf8(output.stdout).unwrap()
}

/// Which of its names isoinfo calls a file by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Iso,
    RockRidge,
    Joliet,
}

/// Every file as isoinfo lists it, in its order.
pub(crate) fn listing(iso: &Path, names: Names) -> Vec<(String, Extent)> {
    let mut arguments = vec![OsStr::new("-l"), OsStr::new("-i"), iso.as_os_str()];
    match names {
        Names::Iso => {}
        Names::RockRidge => arguments.push(OsStr::new("-R")),
        Names::Joliet => arguments.push(OsStr::new("-J")),
    }
    let listing = String::from_utf8(run("isoinfo", &arguments).stdout).unwrap();
    let mut directory = String::new();
    let mut files = Vec::new();
    for line in listing.lines() {
        if let Some(path) = line.strip_prefix("Directory listing of /") {
            path.clone_into(&mut directory);
        }
        // -r--r--r--   1    0    0            2048 Jul 19 2023 [     34 00]  boot.cat
        let Some((attributes, rest)) = line.split_once('[') else { continue };
        let Some((location, name)) = rest.split_once(']') else { continue };
        // genisoimage makes no directory of the parent of rr_moved.
        if attributes.starts_with('d') || name.trim() == ".." {
            continue;
        }
        let number =
            |words: &str, index| words.split_whitespace().nth(index).unwrap().parse::<u64>().unwrap();
        let extent = Extent { offset: number(location, 0) * 2048, len: number(attributes, 4) };
        // The target of a symbolic link, where there is one, is not part of the name.
        let name = name.trim().split(" -> ").next().unwrap();
        files.push((format!("{directory}{name}"), extent));
    }
    files
}

pub(crate) fn map(listing: Vec<(String, Extent)>) -> BTreeMap<String, Extent> {
    listing.into_iter().collect()
}

pub(crate) fn read_at(iso: &File, extent: Extent) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(extent.len).unwrap()];
    iso.read_exact_at(&mut bytes, extent.offset).unwrap();
    bytes
}

pub(crate) fn config() -> NamedTempFile {
    let config = NamedTempFile::new().unwrap();
    fs::write(config.path(), CONFIG).unwrap();
    config
}

pub(crate) const CONFIG: &str = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[]}}"#;
