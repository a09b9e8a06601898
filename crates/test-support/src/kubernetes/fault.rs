use std::sync::Mutex;

/// Which requests get into trouble: those of this method (`WATCH` for a `GET` that watches; empty for any) whose path ends
/// with this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// The method.
    pub method: &'static str,
    /// The end of the path.
    pub path_end: String,
}

impl Matching {
    /// Requests of a method to a path that ends like this.
    pub fn new(method: &'static str, path_end: &str) -> Self {
        Self { method, path_end: path_end.to_owned() }
    }
}

/// What is answered instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A refusal with this status.
    Status(u16),
    /// Nothing, ever.
    Hang,
    /// What was asked is done, but the answer is lost: the connection breaks off.
    LoseAnswer,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<(Matching, Trouble, usize)>>);

impl Faults {
    pub(super) fn add(&self, matching: Matching, trouble: Trouble, times: usize) {
        self.0.lock().unwrap().push((matching, trouble, times));
    }

    /// In one step, so that no request slips through in between.
    pub(super) fn replace(&self, matching: Matching, trouble: Trouble, times: usize) {
        *self.0.lock().unwrap() = vec![(matching, trouble, times)];
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(super) fn take(&self, method: &str, path: &str) -> Option<Trouble> {
        let mut faults = self.0.lock().unwrap();
        let matches = |matching: &Matching| {
            (matching.method.is_empty() || matching.method == method) && path.ends_with(&matching.path_end)
        };
        let at = faults.iter().position(|(matching, _, _)| matches(matching))?;
        let trouble = faults[at].1;
        faults[at].2 -= 1;
        if faults[at].2 == 0 {
            faults.remove(at);
        }
        Some(trouble)
    }
}
