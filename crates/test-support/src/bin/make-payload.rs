//! Makes an OpenShift release out of live ISOs, as directories that skopeo pushes to a registry.
//!
//! For demonstrations: a registry filled so is to a client what a mirror of quay.io is.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use clap::Parser;
use coreos_names::{Arch, OpenshiftVersion, OsBuild};
use serde_json::json;
use test_support::payload::{Artifact, Content, ReleaseBuilder};

/// Makes an OpenShift release out of live ISOs. Prints, as JSON, what was made and under which tags to push it:
///
/// skopeo copy --all --preserve-digests dir:DIR docker://REGISTRY/REPOSITORY:TAG
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    /// Version of the release, such as 4.18.52
    #[arg(long)]
    version: OpenshiftVersion,
    /// Build of the operating system in the ISOs, such as 418.94.202511191518-0
    #[arg(long, value_name = "BUILD")]
    rhcos_version: OsBuild,
    /// ISO of an architecture; once for each architecture
    #[arg(long = "iso", value_name = "ARCH=PATH", required = true)]
    isos: Vec<IsoOption>,
    /// Make it a multi-architecture release, whose images are lists
    #[arg(long)]
    multi: bool,
    /// Directory to write to, made if need be
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `x86_64=rhcos.iso`.
#[derive(Clone, Debug)]
struct IsoOption {
    arch: Arch,
    path: PathBuf,
}

impl FromStr for IsoOption {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (arch, path) = text.split_once('=').context("expected ARCH=PATH, such as x86_64=rhcos.iso")?;
        Ok(Self { arch: arch.parse()?, path: path.into() })
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.multi || args.isos.len() == 1, "several ISOs need --multi");

    let mut builder = ReleaseBuilder::new(&args.version.to_string(), args.rhcos_version.as_str());
    for IsoOption { arch, path } in &args.isos {
        let iso = Content::from_file(path).with_context(|| format!("reading {}", path.display()))?;
        builder = builder.iso(*arch, iso);
    }
    if args.multi {
        builder = builder.multi();
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let release = builder.build_in(&args.out).context("building the release")?;

    let write = |artifact: &Artifact, dir: &Path, tag: &str| -> anyhow::Result<_> {
        artifact.write_dir(dir).with_context(|| format!("writing {}", dir.display()))?;
        Ok(json!({"dir": dir, "tag": tag, "digest": artifact.digest()}))
    };
    let image = write(&release.image, &args.out.join("release"), &release.tag)?;
    let mut components = Vec::new();
    for component in &release.components {
        let dir = args.out.join("components").join(&component.name);
        let mut entry = write(&component.image, &dir, &component.tag)?;
        entry["name"] = json!(component.name);
        components.push(entry);
    }
    let arches: Vec<_> = args.isos.iter().map(|iso| iso.arch).collect();
    let made = json!({
        "version": release.version,
        "architectures": arches,
        "release": image,
        "components": components,
    });
    println!("{}", serde_json::to_string_pretty(&made)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let line = "make-payload --version 4.18.52 --rhcos-version 418.94.1-0 --iso aarch64=a=b.iso --out x";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(args.isos[0].path.to_str(), Some("a=b.iso"));
    }
}
