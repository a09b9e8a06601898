use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

/// One thing that goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status instead of an answer, with the headers given and a short body.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection is cut after so many bytes of the body, or earlier: what is still on its way is lost.
    CutAfter(u64),
    /// The body ends after so many bytes as if that were all: no length is stated.
    EndAfter(u64),
    /// These bytes follow the body, and no length is stated.
    Append(&'static [u8]),
    /// The byte at this place is another one.
    Corrupt(u64),
    /// Nothing more comes after so many bytes of the body.
    StallAfter(u64),
    /// Nothing more comes after so many bytes of the body until the gate is opened.
    HoldAfter(u64, Gate),
    /// After so many bytes of the body every further one takes a moment: the whole would take hours.
    TrickleAfter(u64),
    /// Sent elsewhere.
    Redirect(String),
    /// This length is stated instead of the true one.
    StatedLength(u64),
    /// A part is sent with this `Content-Range`. Only registries do so; a [`File`](crate::origin::File) has a setting.
    ContentRange(&'static str),
    /// Another body, with a digest header that claims it is the right one.
    Replace(&'static [u8]),
}

impl Fault {
    /// A bare status.
    pub const fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }
}

/// Holds bodies back until it is opened, which it then is for good. A clone is the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Lets everything pass.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        // The sender is here.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

/// What is to go wrong, by the end of the path.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    lasting: Mutex<Vec<(String, Fault)>>,
    once: Mutex<VecDeque<(String, Fault)>>,
}

impl Faults {
    pub(crate) fn inject(&self, path_end: &str, fault: Fault) {
        self.lasting.lock().unwrap().push((path_end.to_owned(), fault));
    }

    pub(crate) fn inject_once(&self, path_end: &str, fault: Fault) {
        self.once.lock().unwrap().push_back((path_end.to_owned(), fault));
    }

    pub(crate) fn clear(&self) {
        self.lasting.lock().unwrap().clear();
        self.once.lock().unwrap().clear();
    }

    /// The fault for one request: the oldest of those for once, else one that lasts.
    pub(crate) fn take(&self, path: &str) -> Option<Fault> {
        let mut once = self.once.lock().unwrap();
        if let Some(position) = once.iter().position(|(end, _)| path.ends_with(end)) {
            return once.remove(position).map(|(_, fault)| fault);
        }
        let lasting = self.lasting.lock().unwrap();
        lasting.iter().find(|(end, _)| path.ends_with(end)).map(|(_, fault)| fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults};

    #[test]
    fn faults_for_once_come_first_and_in_order() {
        let faults = Faults::default();
        faults.inject("/a", Fault::status(500));
        faults.inject_once("/a", Fault::status(429));
        faults.inject_once("/a", Fault::status(503));
        let taken = [(); 4].map(|()| faults.take("/v2/a"));
        assert_eq!(taken, [429, 503, 500, 500].map(|status| Some(Fault::status(status))));
        assert_eq!(faults.take("/v2/b"), None);
    }
}
