//! What must be true of every ISO that is read without an error.

use live_iso::{
    Artifact, Customization, Extent, IgnitionArchive, KernelArgumentAreas, KernelArguments, Layout, Plan,
    embedded,
};

/// Reads an ISO, asks for everything, and customises it.
pub(crate) fn check(iso: &Vec<u8>) {
    let Ok(layout) = Layout::read(iso) else { return };
    let size = iso.len() as u64;
    let within = |extent: Extent| assert!(extent.end().is_some_and(|end| end <= size), "{extent:?}");

    [layout.kernel(), layout.initrd(), layout.rootfs()].into_iter().chain(layout.ins_file()).for_each(within);
    for entry in layout.boot_catalog().iter().flat_map(|catalog| catalog.entries()) {
        within(entry.loaded());
    }
    if let Some(area) = layout.ignition_area() {
        within(area.extent());
        assert!(!area.to_string().is_empty());
    }
    let areas = layout.kernel_argument_areas().map(KernelArgumentAreas::areas).unwrap_or_default();
    for area in areas {
        within(area.extent());
        assert!(!area.arguments().contains(char::is_control));
    }
    let _ = (layout.generation(), layout.architecture(), layout.partition_tables(), layout.created());
    let _ = layout.features().map(|features| features.installer_config_directives().count());
    let _ = embedded(iso, &layout);

    let archive = IgnitionArchive::new(b"{}").expect("a small config");
    let arguments = KernelArguments::new(["quiet".to_owned()]).expect("printable arguments");
    let customization = Customization {
        ignition: layout.ignition_area().map(|_| archive),
        kernel_arguments: layout.kernel_argument_areas().map(|_| arguments),
        ..Customization::default()
    };
    if let Ok(minimal) = layout.minimal(&"http://a/b".parse().expect("a sound URL"), None)
        && let Ok(plan) = minimal.plan(&customization)
    {
        assert_eq!(bytes(&plan, iso).len() as u64, minimal.size());
    }
    let Ok(plan) = layout.plan(Artifact::FullIso, &customization) else { return };
    let customised = bytes(&plan, iso);
    assert_eq!(customised.len(), iso.len());
    let middle = size / 2;
    assert!(
        [bytes(&plan.slice(0..middle), iso), bytes(&plan.slice(middle..size), iso)].concat() == customised
    );
}

fn bytes(plan: &Plan, iso: &Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan.write_to(iso, &Vec::new(), &mut bytes).expect("memory is written to");
    bytes
}
