//! Minimal images of live ISOs as genisoimage, isohybrid, xorriso and grub-mkrescue write them, judged by xorriso, isoinfo
//! and coreos-installer.

mod boot_images;
mod head;
mod hostile;
mod images;
mod judges;
mod partition_tables;
