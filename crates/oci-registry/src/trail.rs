use std::sync::{Arc, Mutex, PoisonError};

use crate::experience::Experience;
use crate::{Error, RedactedUrl, Reference};

/// Where the bytes of one blob come from. Kept up to date by whoever fetches them, asked by whoever judges them.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Whose word is doubted if the bytes prove wrong, if there is anybody else.
    judge: Option<Judge>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Judge {
    image: Reference,
    places: Vec<Reference>,
    experience: Arc<Experience>,
}

#[derive(Debug)]
struct State {
    url: RedactedUrl,
    resumed: u32,
    /// Each once, the last one last.
    came_from: Vec<Reference>,
}

impl Trail {
    /// Of bytes that all come from one place.
    pub(crate) fn of_one(url: RedactedUrl) -> Self {
        Self { judge: None, state: Mutex::new(State { url, resumed: 0, came_from: Vec::new() }) }
    }

    /// Of bytes of `image` that may come from several places; the first of them from `first`.
    pub(crate) fn of_many(
        image: Reference,
        places: Vec<Reference>,
        experience: Arc<Experience>,
        url: RedactedUrl,
        first: Reference,
    ) -> Self {
        let judge = Some(Judge { image, places, experience });
        Self { judge, state: Mutex::new(State { url, resumed: 0, came_from: vec![first] }) }
    }

    /// Notes where the rest comes from.
    pub(crate) fn resumed(&self, url: RedactedUrl, place: Reference) {
        self.with(|state| {
            state.url = url;
            state.resumed = state.resumed.saturating_add(1);
            state.came_from.retain(|before| *before != place);
            state.came_from.push(place);
        });
    }

    /// Who sent the last bytes, and how often the download was resumed.
    pub(crate) fn position(&self) -> (RedactedUrl, u32) {
        self.with(|state| (state.url.clone(), state.resumed))
    }

    /// Distrusts whoever sent wrong bytes alone. Of several nobody is convicted, lest a bad one ruin the good ones: next
    /// time each has to send everything. The error says whether asking again can help.
    pub(crate) fn blame(&self, error: Error) -> Error {
        let Some(Judge { image, places, experience }) = &self.judge else { return error };
        let guilty = self.with(|state| state.came_from.clone());
        match guilty.as_slice() {
            [place] => experience.distrust(image, place),
            // Who broke off and left the rest to others does not begin next time.
            several => several.iter().rev().skip(1).rev().for_each(|place| experience.doubt(image, place)),
        }
        if guilty.len() > 1 || places.iter().any(|place| experience.trusts(image, place)) {
            Error::WrongBytes { from: guilty, source: Box::new(error) }
        } else {
            error
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
