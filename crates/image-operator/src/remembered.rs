//! What a status says that an earlier process found out and did. What is not understood is found out again.

use std::collections::{BTreeMap, BTreeSet};

use release_payload::Reference;

use crate::crd::{CoreosImageServiceStatus, KeptRelease, ReleaseState};
use crate::select::{self, Facts, Listed};

/// What was found out, and what the feed was written with.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// What release images say of themselves.
    pub(crate) facts: BTreeMap<Reference, Facts>,
    /// What is listed, and for whom. The feed tells the entries themselves better, which may be for fewer architectures.
    pub(crate) listed: BTreeMap<Reference, Listed>,
}

impl Remembered {
    /// Reads a status.
    pub(crate) fn of(status: &CoreosImageServiceStatus) -> Self {
        let mut remembered = Self::default();
        for release in &status.releases {
            let Ok(pullspec) = select::pullspec(&release.pullspec) else { continue };
            let version = release.version.as_deref();
            let Some(facts) = version.and_then(|version| facts(version, &release.arches, &release.os_builds))
            else {
                continue;
            };
            if release.state == ReleaseState::Listed {
                remembered.list(&pullspec, &facts, [&release.name], &release.installations);
            }
            remembered.facts.insert(pullspec, facts);
        }
        for KeptRelease { pullspec, version, arches, os_builds, sets, installations } in &status.kept {
            let Ok(pullspec) = select::pullspec(pullspec) else { continue };
            let Some(facts) = facts(version, arches, os_builds) else { continue };
            remembered.list(&pullspec, &facts, sets, installations);
            // Without a build it was known from the feed alone, which may leave architectures out.
            if !facts.os_builds.is_empty() {
                remembered.facts.entry(pullspec).or_insert(facts);
            }
        }
        remembered
    }

    fn list<'a>(
        &mut self,
        pullspec: &Reference,
        facts: &Facts,
        sets: impl IntoIterator<Item = &'a String>,
        installs: &[String],
    ) {
        let listed = self.listed.entry(pullspec.clone()).or_insert_with(|| Listed {
            entry: select::release(pullspec, facts, &facts.arches),
            sets: BTreeSet::new(),
            installs: BTreeSet::new(),
        });
        listed.sets.extend(sets.into_iter().cloned());
        listed.installs.extend(installs.iter().cloned());
    }
}

fn facts(version: &str, arches: &[String], os_builds: &BTreeMap<String, String>) -> Option<Facts> {
    let build = |(arch, build): (&String, &String)| Some((arch.parse().ok()?, build.parse().ok()?));
    Some(Facts {
        version: version.parse().ok()?,
        arches: arches.iter().filter_map(|arch| arch.parse().ok()).collect(),
        os_builds: os_builds.iter().filter_map(build).collect(),
    })
}
