//! Trees with everything that Rock Ridge and Joliet can say, as the two writers of live ISOs write them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use live_iso::Customization;

use crate::judges::{Names, Pair, listing, map, read_at, run, xorriso};

const GRUB: &str =
    "\tlinux /images/pxeboot/vmlinuz rw coreos.liveiso=rhcos-1\n\tinitrd /images/pxeboot/initrd.img\n";

/// Writes a tree in which there are `others` files beside those that are added.
fn write_tree(root: &Path, others: usize) {
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("images/pxeboot/vmlinuz", &[1; 5000]);
    write("images/pxeboot/initrd.img", &[2; 2048]);
    write("images/pxeboot/rootfs.img", &vec![3; 100_000]);
    write("images/ignition.img", &[0; 8192]);
    write("EFI/redhat/grub.cfg", GRUB.as_bytes());
    write("coreos/miniso.dat", &[4; 100]);
    write("zz/last", b"last");
    for number in 0..others {
        write(
            &format!("images/other-{number:03}-with-a-rather-long-name.bin"),
            format!("{number}").as_bytes(),
        );
    }
    // Its name takes more than one record has room for.
    write(&format!("coreos/{}", "long-name-".repeat(22)), b"long");
    // Deeper than eight levels, so genisoimage moves a part of it.
    write("a/b/c/d/e/f/g/h/i/j/deep", b"deep");
    write("a/empty", b"");
    fs::hard_link(root.join("images/pxeboot/vmlinuz"), root.join("a/kernel")).unwrap();
    fs::hard_link(root.join("EFI/redhat/grub.cfg"), root.join("EFI/grub.cfg")).unwrap();
    symlink(format!("/somewhere/{}", "farther/".repeat(25)), root.join("a/link")).unwrap();
}

fn genisoimage(root: &Path, iso: &Path) {
    let common = ["-quiet", "-V", "rhcos-1", "-rational-rock", "-J", "-joliet-long", "-o"];
    let mut arguments: Vec<&OsStr> = common.iter().map(OsStr::new).collect();
    arguments.extend([iso.as_os_str(), root.as_os_str()]);
    run("genisoimage", &arguments);
}

fn xorrisofs(root: &Path, iso: &Path) {
    let common = ["-quiet", "-volid", "rhcos-1", "-rational-rock", "-J", "-joliet-long", "-o"];
    let mut arguments: Vec<&OsStr> = common.iter().map(OsStr::new).collect();
    arguments.extend([iso.as_os_str(), root.as_os_str()]);
    run("xorrisofs", &arguments);
}

/// The content of every file by its path, and which paths share it.
fn contents(iso: &Path, names: Names) -> BTreeMap<String, (Vec<u8>, Vec<String>)> {
    let file = File::open(iso).unwrap();
    let files = map(listing(iso, names));
    let shared = |path: &String| -> Vec<String> {
        let same = |(other, extent): &(&String, _)| *extent == &files[path] && *other != path;
        let is_empty = files[path].len == 0;
        files.iter().filter(same).map(|(other, _)| other.clone()).filter(|_| !is_empty).collect()
    };
    files.iter().map(|(path, extent)| (path.clone(), (read_at(&file, *extent), shared(path)))).collect()
}

fn check(iso: &Path, kind: &str) {
    let pair = Pair::of(iso);
    let file = pair.write(&Customization::default());
    for names in [Names::RockRidge, Names::Joliet] {
        let (mut before, mut after) = (contents(iso, names), contents(file.path(), names));
        assert!(before.remove("images/pxeboot/rootfs.img").is_some(), "{kind}");
        assert!(before.remove("coreos/miniso.dat").is_some(), "{kind}");
        assert!(after.remove("images/assisted_installer_custom.img").is_some(), "{kind}");
        assert!(after.remove("images/nmstate.img").is_some(), "{kind}");
        for path in ["EFI/redhat/grub.cfg", "EFI/grub.cfg"] {
            let (old, new) = (before.get_mut(path).unwrap(), after.get_mut(path).unwrap());
            assert!(new.0.len() > old.0.len(), "{kind}: {path} is edited");
            new.0.clone_from(&old.0);
        }
        assert!(after["a/kernel"].1.contains(&"images/pxeboot/vmlinuz".to_owned()), "{kind}");
        let differ = |path: &&String| before.get(*path) != after.get(*path);
        let differing: Vec<_> = before.keys().chain(after.keys()).filter(differ).collect();
        assert!(differing.is_empty(), "{kind} {names:?}: {differing:?}");
    }
    let lines = |iso: &Path| -> Vec<String> {
        let report = xorriso(iso);
        let lines = report.lines().filter(|line| line.ends_with('\'') && line.starts_with(['-', 'd', 'l']));
        // Who is looking makes the dates; link counts, owners, sizes and targets are the volume's.
        lines.map(str::to_owned).filter(|line| !line.contains("grub.cfg")).collect()
    };
    let (mut before, mut after) = (lines(iso), lines(file.path()));
    before.retain(|line| !line.contains("/rootfs.img'") && !line.contains("/miniso.dat'"));
    after.retain(|line| !line.contains("/assisted_installer_custom.img'") && !line.contains("/nmstate.img'"));
    assert_eq!(before, after, "{kind}");
    assert!(before.iter().any(|line| line.contains("'/a/link' -> '/somewhere/farther/farther")), "{kind}");
}

/// However full the directory is that files come into: at some counts it needs a block more than before.
#[test]
fn trees_survive() {
    let directory = tempfile::tempdir().unwrap();
    for others in [0, 6, 8, 9, 10, 40] {
        let root = directory.path().join(format!("tree-{others}"));
        write_tree(&root, others);
        let iso = directory.path().join("genisoimage.iso");
        genisoimage(&root, &iso);
        check(&iso, &format!("genisoimage, {others} others"));
        let iso = directory.path().join("xorrisofs.iso");
        xorrisofs(&root, &iso);
        check(&iso, &format!("xorrisofs, {others} others"));
    }
}

/// Between these two counts the directory is at the end of a block in one of its forms.
#[test]
fn a_directory_grows_by_a_block() {
    let directory = tempfile::tempdir().unwrap();
    let mut grown = 0;
    for others in 0..24 {
        let root = directory.path().join(format!("tree-{others}"));
        write_tree(&root, others);
        let iso = directory.path().join("tree.iso");
        genisoimage(&root, &iso);
        let pair = Pair::of(&iso);
        let file = pair.write(&Customization::default());
        for names in [Names::RockRidge, Names::Joliet] {
            let ours = contents(file.path(), names);
            assert_eq!(ours.len(), contents(&iso, names).len(), "{others}");
            grown += usize::from(images_directory(file.path(), names) > images_directory(&iso, names));
        }
    }
    assert!(grown >= 2, "{grown}");
}

/// The size of `images/` as it says itself.
fn images_directory(iso: &Path, names: Names) -> u64 {
    let form = if names == Names::Joliet { "-J" } else { "-R" };
    let arguments = ["-l".as_ref(), form.as_ref(), "-i".as_ref(), iso.as_os_str()];
    let listing = String::from_utf8(run("isoinfo", &arguments).stdout).unwrap();
    let itself = listing.split("Directory listing of /images/\n").nth(1).unwrap().lines().next().unwrap();
    itself.split_whitespace().nth(4).unwrap().parse().unwrap()
}
