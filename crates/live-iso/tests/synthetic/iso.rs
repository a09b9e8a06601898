//! A small ISO writer: just what the reader needs, and a handle on every directory record, so that it can be falsified.
//!
//! Blocks: 16 primary descriptor, 17 boot record, 18 terminator, 19 boot catalog, one for each directory, one for each
//! continued name, then the files. Without a boot catalog 17 is the terminator.

use std::collections::BTreeMap;

pub(crate) const BLOCK: usize = 2048;
const PRIMARY: usize = 16 * BLOCK;
const BOOT_CATALOG: usize = 19;
/// The block of the root directory.
pub(crate) const ROOT: usize = 20;
const DIRECTORY: u8 = 2;
const MORE_EXTENTS: u8 = 0x80;

/// What is to be written.
#[derive(Clone)]
pub(crate) struct Iso {
    volume_id: String,
    names: Names,
    files: BTreeMap<String, File>,
    /// Platform and boot image.
    boot: Vec<(u8, String)>,
    /// What the `coreiso+` header points to.
    ignition_header: Option<String>,
    kernel_argument_header: Option<KernelArgumentHeader>,
}

/// What the `coreKarg` header says.
#[derive(Clone)]
pub(crate) struct KernelArgumentHeader {
    /// The length of each area.
    pub(crate) size: usize,
    /// The file with the default arguments.
    pub(crate) default: String,
    /// Files and offsets in them.
    pub(crate) areas: Vec<(String, usize)>,
}

/// How names are written besides their ISO 9660 form.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Names {
    IsoOnly,
    RockRidge,
    /// Rock Ridge, each name in two parts, the second in a continuation.
    Continued,
}

#[derive(Clone)]
struct File {
    extents: Vec<Vec<u8>>,
    blocks_between: usize,
}

/// What was written.
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    /// Where the directory records of each path begin, one for each extent. The root's is in the primary descriptor.
    pub(crate) records: BTreeMap<String, Vec<usize>>,
}

impl Iso {
    pub(crate) fn new(volume_id: &str) -> Self {
        Self {
            volume_id: volume_id.to_owned(),
            names: Names::RockRidge,
            files: BTreeMap::new(),
            boot: Vec::new(),
            ignition_header: None,
            kernel_argument_header: None,
        }
    }

    /// A live ISO of today for x86_64.
    pub(crate) fn coreos() -> Self {
        let line = format!("linux /vmlinuz {ARGUMENTS}\n{}# COREOS_KARG_EMBED_AREA\n", "#".repeat(FILLING));
        Self::new("rhcos-418.94.202511191518-0")
            .file("images/pxeboot/vmlinuz", &noise(3000))
            .file("images/pxeboot/initrd.img", &noise(5000))
            .file("images/pxeboot/rootfs.img", &noise(7001))
            .file("images/ignition.img", &[0; IGNITION_AREA])
            .file("EFI/redhat/grub.cfg", format!("timeout=1\n{line}").as_bytes())
            .file("isolinux/isolinux.cfg", line.as_bytes())
            .file("coreos/igninfo.json", br#"{"file": "images/ignition.img"}"#)
            .file("coreos/kargs.json", kargs_json("EFI/redhat/grub.cfg", "isolinux/isolinux.cfg").as_bytes())
    }

    /// The same for s390x, where kernel, arguments and Ignition area are in one file.
    pub(crate) fn coreos_s390x() -> Self {
        let mut boot = noise(2000);
        boot.extend(ARGUMENTS.as_bytes());
        boot.resize(2000 + 896, 0);
        boot.extend(noise(1004));
        boot.resize(3900 + IGNITION_AREA, 0);
        let kargs = serde_json::json!({
            "default": ARGUMENTS,
            "files": [{"path": "images/cdboot.img", "offset": 2000, "pad": "\0", "end": "\0"}],
            "size": 896,
        });
        let igninfo =
            serde_json::json!({"file": "images/cdboot.img", "offset": 3900, "length": IGNITION_AREA});
        Self::coreos()
            .without("images/ignition.img")
            .without("EFI/redhat/grub.cfg")
            .without("isolinux/isolinux.cfg")
            .file("images/cdboot.img", &boot)
            .file("coreos/kargs.json", kargs.to_string().as_bytes())
            .file("coreos/igninfo.json", igninfo.to_string().as_bytes())
    }

    pub(crate) fn names(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// With these entries in its boot catalog: platforms and boot images.
    pub(crate) fn boots(self, entries: &[(u8, &str)]) -> Self {
        let boot = entries.iter().map(|(platform, image)| (*platform, (*image).to_owned()));
        Self { boot: boot.collect(), ..self }
    }

    pub(crate) fn ignition_header(self, file: &str) -> Self {
        Self { ignition_header: Some(file.to_owned()), ..self }
    }

    pub(crate) fn kernel_argument_header(self, header: KernelArgumentHeader) -> Self {
        Self { kernel_argument_header: Some(header), ..self }
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.extents(path, vec![content.to_vec()], 0)
    }

    /// A file in several extents, so many blocks apart.
    pub(crate) fn extents(mut self, path: &str, extents: Vec<Vec<u8>>, blocks_between: usize) -> Self {
        self.files.insert(path.to_owned(), File { extents, blocks_between });
        self
    }

    pub(crate) fn without(mut self, path: &str) -> Self {
        self.files.remove(path).expect("the file was added before");
        self
    }

    /// With something else at the start of a file.
    pub(crate) fn falsified(mut self, path: &str, start: &[u8]) -> Self {
        let file = self.files.get_mut(path).expect("the file was added before");
        file.extents[0][..start.len()].copy_from_slice(start);
        self
    }

    pub(crate) fn build(&self) -> Image {
        let directories = self.directories();
        let first_continuation = ROOT + directories.len();
        let entries = directories.values().map(Vec::len).sum::<usize>();
        let mut bytes = vec![0; (first_continuation + entries) * BLOCK];

        let mut extents = BTreeMap::new();
        for (path, file) in &self.files {
            let mut locations = Vec::new();
            for extent in &file.extents {
                locations.push((bytes.len() / BLOCK, extent.len()));
                bytes.extend(extent);
                bytes.resize(bytes.len().next_multiple_of(BLOCK) + file.blocks_between * BLOCK, 0);
            }
            extents.insert(path.clone(), locations);
        }

        let block_of: BTreeMap<_, _> = directories.keys().cloned().zip(ROOT..).collect();
        let mut image = Image { bytes, records: BTreeMap::new() };
        let mut next_continuation = first_continuation;
        for (directory, names) in &directories {
            let block = block_of[directory];
            let mut at = block * BLOCK;
            for (name, system_use) in [(&b"\0"[..], &b"SP\x07\x01\xbe\xef\0"[..]), (b"\x01", b"")] {
                at += image.write_record(at, name, (block, BLOCK), DIRECTORY, system_use);
            }
            for name in names {
                let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
                let system_use = self.system_use(name, &mut next_continuation, &mut image);
                let (identifier, locations, flags) = match extents.get(&path) {
                    Some(locations) => (format!("{};1", level_1(name)), locations.clone(), 0),
                    None => (level_1(name), vec![(block_of[&path], BLOCK)], DIRECTORY),
                };
                for (number, location) in locations.iter().enumerate() {
                    let more = if number + 1 < locations.len() { MORE_EXTENTS } else { 0 };
                    image.records.entry(path.clone()).or_default().push(at);
                    at += image.write_record(at, identifier.as_bytes(), *location, flags | more, &system_use);
                }
            }
            assert!(at <= (block + 1) * BLOCK, "{directory:?} needs more than a block");
        }
        self.write_descriptors(&mut image);
        self.write_headers(&mut image);
        image
    }

    /// The names in every directory.
    fn directories(&self) -> BTreeMap<String, Vec<String>> {
        let mut directories = BTreeMap::from([(String::new(), Vec::new())]);
        for path in self.files.keys() {
            let mut path = path.as_str();
            loop {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                let names: &mut Vec<String> = directories.entry(parent.to_owned()).or_default();
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
                if parent.is_empty() {
                    break;
                }
                path = parent;
            }
        }
        directories
    }

    fn system_use(&self, name: &str, next_continuation: &mut usize, image: &mut Image) -> Vec<u8> {
        let part = |flags, part: &str| {
            let mut entry = vec![b'N', b'M', u8::try_from(5 + part.len()).unwrap(), 1, flags];
            entry.extend(part.as_bytes());
            entry
        };
        match self.names {
            Names::IsoOnly => Vec::new(),
            Names::RockRidge => part(0, name),
            Names::Continued => {
                let (head, tail) = name.split_at(1);
                let tail = part(0, tail);
                let at = *next_continuation * BLOCK + 100;
                image.bytes[at..at + tail.len()].copy_from_slice(&tail);
                let mut system_use = part(1, head);
                system_use.extend(b"CE\x1c\x01");
                for number in [*next_continuation, 100, tail.len()] {
                    system_use.extend(both_endian(number));
                }
                *next_continuation += 1;
                system_use
            }
        }
    }

    fn write_descriptors(&self, image: &mut Image) {
        image.put(PRIMARY, b"\x01CD001\x01");
        image.put(PRIMARY + 8, &[b' '; 64]);
        image.put(PRIMARY + 40, self.volume_id.as_bytes());
        image.put(PRIMARY + 80, &both_endian(image.bytes.len() / BLOCK));
        image.put(PRIMARY + 128, &[0, 8, 8, 0]);
        image.records.insert(String::new(), vec![PRIMARY + 156]);
        image.write_record(PRIMARY + 156, &[0], (ROOT, BLOCK), DIRECTORY, &[]);
        image.put(PRIMARY + 190, &[b' '; 128]);
        image.put(PRIMARY + 190, b"a set of volumes");
        image.put(PRIMARY + 813, b"2023071911310300\x08");
        let terminator = if self.boot.is_empty() { 17 } else { 18 };
        image.put(terminator * BLOCK, b"\xffCD001\x01");
        self.write_boot_catalog(image);
    }

    fn write_boot_catalog(&self, image: &mut Image) {
        let Some((platform, _)) = self.boot.first() else { return };
        image.put(17 * BLOCK, b"\0CD001\x01EL TORITO SPECIFICATION\0");
        image.put(17 * BLOCK + 71, &both_endian(BOOT_CATALOG)[..4]);
        let checksum = 0_u16.wrapping_sub(0xaa55).wrapping_sub(u16::from_le_bytes([1, *platform]));
        let mut catalog = vec![1, *platform];
        catalog.resize(28, 0);
        catalog.extend(checksum.to_le_bytes());
        catalog.extend([0x55, 0xaa]);
        for (number, (platform, path)) in self.boot.iter().enumerate() {
            if number > 0 {
                let is_last = u8::from(number + 1 == self.boot.len());
                catalog.extend([0x90 + is_last, *platform, 1, 0]);
                catalog.resize(catalog.len().next_multiple_of(32), 0);
            }
            catalog.extend([0x88, 0, 0, 0, 0, 0, 4, 0]);
            catalog.extend(&both_endian(image.offset(path) / BLOCK)[..4]);
            catalog.resize(catalog.len().next_multiple_of(32), 0);
        }
        image.put(BOOT_CATALOG * BLOCK, &catalog);
    }

    fn write_headers(&self, image: &mut Image) {
        if let Some(path) = &self.ignition_header {
            let len = self.files[path].extents[0].len();
            image.put_header(32_744, b"coreiso+", &[image.offset(path), len]);
        }
        if let Some(KernelArgumentHeader { size, default, areas }) = &self.kernel_argument_header {
            let mut numbers = vec![*size, image.offset(default)];
            numbers.extend(areas.iter().map(|(path, offset)| image.offset(path) + offset));
            numbers.resize(8, 0);
            image.put_header(32_672, b"coreKarg", &numbers);
        }
    }
}

impl Image {
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put_header(&mut self, at: usize, magic: &[u8], numbers: &[usize]) {
        let numbers = numbers.iter().map(|number| u64::try_from(*number).unwrap());
        let header: Vec<u8> = magic.iter().copied().chain(numbers.flat_map(u64::to_le_bytes)).collect();
        self.put(at, &header);
    }

    /// Says that the (first extent of the) file or directory lies elsewhere.
    pub(crate) fn relocate(&mut self, path: &str, block: u32) {
        let at = self.records[path][0] + 2;
        self.put(at, &block.to_le_bytes());
    }

    /// Says that the (first extent of the) file or directory has another length.
    pub(crate) fn resize(&mut self, path: &str, len: u32) {
        let at = self.records[path][0] + 10;
        self.put(at, &len.to_le_bytes());
    }

    pub(crate) fn set_space_size(&mut self, blocks: u32) {
        self.put(PRIMARY + 80, &blocks.to_le_bytes());
    }

    /// Where the content of a file begins.
    pub(crate) fn offset(&self, path: &str) -> usize {
        let at = self.records[path][0] + 2;
        let block = u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap());
        usize::try_from(block).unwrap() * BLOCK
    }

    fn write_record(
        &mut self,
        at: usize,
        name: &[u8],
        location: (usize, usize),
        flags: u8,
        system_use: &[u8],
    ) -> usize {
        let mut record = vec![0, 0];
        record.extend(both_endian(location.0));
        record.extend(both_endian(location.1));
        record.extend([123, 7, 19, 11, 31, 3, 0, flags, 0, 0, 1, 0, 0, 1]);
        record.push(u8::try_from(name.len()).unwrap());
        record.extend(name);
        record.resize(record.len().next_multiple_of(2), 0);
        record.extend(system_use);
        record.resize(record.len().next_multiple_of(2), 0);
        record[0] = u8::try_from(record.len()).unwrap();
        self.put(at, &record);
        record.len()
    }
}

/// The kernel arguments in [`Iso::coreos`].
pub(crate) const ARGUMENTS: &str = "rw coreos.liveiso=rhcos-418.94.202511191518-0 ignition.platform.id=metal";
/// How many `#` follow them before the marker.
pub(crate) const FILLING: usize = 300;
/// The size of the Ignition area in [`Iso::coreos`].
pub(crate) const IGNITION_AREA: usize = 4096;

/// Descriptions of two areas as they are in [`Iso::coreos`], in the files named.
pub(crate) fn kargs_json(grub: &str, isolinux: &str) -> String {
    serde_json::json!({
        "default": ARGUMENTS,
        "files": [
            {"path": grub, "offset": 25, "pad": "#", "end": "\n"},
            {"path": isolinux, "offset": 15, "pad": "#", "end": "\n"},
        ],
        "size": ARGUMENTS.len() + 1 + FILLING,
    })
    .to_string()
}

/// Bytes that look like nothing.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = u32::try_from(len).unwrap() | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn both_endian(number: usize) -> [u8; 8] {
    let number = u32::try_from(number).unwrap();
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Eight and three letters, as far as the names in these tests need it.
fn level_1(name: &str) -> String {
    let (base, extension) = name.split_once('.').filter(|(base, _)| !base.is_empty()).unwrap_or((name, ""));
    let cut = |text: &str, len: usize| {
        text.to_ascii_uppercase().replace('.', "_")[..len.min(text.len())].to_owned()
    };
    format!("{}.{}", cut(base, 8), cut(extension, 3)).trim_end_matches('.').to_owned()
}
