//! Release images without a registry: what they say is in their tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use coreos_names::{Arch, OpenshiftVersion};
use feed_format::Access;
use image_operator::payloads::{PayloadReader, Payloads, Unread};
use image_operator::select::Facts;
use release_payload::Reference;

/// `r.example.com/ocp:4.18.1` is release 4.18.1 for x86_64, `…:4.18.1-multi` for all architectures.
#[derive(Debug, Default)]
pub(crate) struct TagPayloads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    broken: BTreeSet<String>,
    needs_password: Option<String>,
    reads: BTreeMap<String, usize>,
}

impl TagPayloads {
    /// This release image cannot be read.
    pub(crate) fn break_image(&self, pullspec: &str) {
        self.0.lock().unwrap().broken.insert(pullspec.to_owned());
    }

    /// It can be read again.
    pub(crate) fn mend_image(&self, pullspec: &str) {
        self.0.lock().unwrap().broken.remove(pullspec);
    }

    /// Only a pull secret with this text in it can read.
    pub(crate) fn need_password(&self, password: &str) {
        self.0.lock().unwrap().needs_password = Some(password.to_owned());
    }

    /// How often a release image was asked for.
    pub(crate) fn reads(&self, pullspec: &str) -> usize {
        self.0.lock().unwrap().reads.get(pullspec).copied().unwrap_or_default()
    }
}

impl Payloads for TagPayloads {
    fn reader(&self, access: &Access) -> Result<Arc<dyn PayloadReader>, String> {
        let secret = access.pull_secret.as_ref().map(|secret| secret.expose().to_owned());
        Ok(Arc::new(Reader { state: Arc::clone(&self.0), secret: secret.unwrap_or_default() }))
    }
}

struct Reader {
    state: Arc<Mutex<State>>,
    secret: String,
}

#[async_trait]
impl PayloadReader for Reader {
    async fn read(&self, pullspec: &Reference) -> Result<Facts, Unread> {
        let unread = |message: &str| Unread { message: message.to_owned(), is_content: false };
        let mut state = self.state.lock().unwrap();
        *state.reads.entry(pullspec.to_string()).or_default() += 1;
        if state.needs_password.as_ref().is_some_and(|password| !self.secret.contains(password)) {
            return Err(unread("the registry does not accept the credentials"));
        }
        if state.broken.contains(&pullspec.to_string()) {
            return Err(unread("the registry is away"));
        }
        let tag = pullspec.tag().ok_or_else(|| unread("no tag"))?;
        let version: OpenshiftVersion = tag.parse().map_err(|_| unread("not a release"))?;
        let arches: BTreeSet<_> =
            if tag.ends_with("-multi") { Arch::ALL.into() } else { BTreeSet::from([Arch::X86_64]) };
        let build = |arch: &Arch| (*arch, format!("418.94.2025{version}").parse().unwrap());
        Ok(Facts { os_builds: arches.iter().map(build).collect(), version, arches })
    }
}
