use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::http::StatusCode;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE,
    LAST_MODIFIED,
};
use axum::response::Response;

use crate::payload::Content;
use crate::registry::Fault;
use crate::registry::answer::{first_asked, header, unsatisfiable};
use crate::registry::body::body;

/// A file, and how it is served: with a strong entity tag, ranges and its length unless something else is said.
#[derive(Clone, Debug)]
pub struct File {
    content: Content,
    etag: Option<String>,
    last_modified: Option<String>,
    ranges: Ranges,
    length: Length,
    encoding: Option<&'static str>,
    heeds_if_range: bool,
    successor: Option<Box<File>>,
}

#[derive(Clone, Copy, Debug)]
enum Ranges {
    Supported,
    Ignored,
    /// A part is answered with this `Content-Range`.
    Labelled(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Stated,
    /// Sent in chunks.
    Unstated,
    /// This instead of the true one.
    Wrong(u64),
}

impl File {
    /// A file whose entity tag is made of its digest.
    pub fn new(content: Content) -> Self {
        let etag = Some(format!("\"{}\"", content.sha256()));
        Self {
            content,
            etag,
            last_modified: None,
            ranges: Ranges::Supported,
            length: Length::Stated,
            encoding: None,
            heeds_if_range: true,
            successor: None,
        }
    }

    /// Sends this entity tag, quotes and all.
    #[must_use]
    pub fn etag(self, etag: &str) -> Self {
        Self { etag: Some(etag.to_owned()), ..self }
    }

    /// Sends no entity tag.
    #[must_use]
    pub fn no_etag(self) -> Self {
        Self { etag: None, ..self }
    }

    /// Sends this date.
    #[must_use]
    pub fn last_modified(self, date: &str) -> Self {
        Self { last_modified: Some(date.to_owned()), ..self }
    }

    /// Knows no ranges: sends everything always.
    #[must_use]
    pub fn no_ranges(self) -> Self {
        Self { ranges: Ranges::Ignored, ..self }
    }

    /// Says this of every part that it sends.
    #[must_use]
    pub fn content_range(self, content_range: &'static str) -> Self {
        Self { ranges: Ranges::Labelled(content_range), ..self }
    }

    /// Is sent in chunks: no length is stated.
    #[must_use]
    pub fn chunked(self) -> Self {
        Self { length: Length::Unstated, ..self }
    }

    /// States a wrong length.
    #[must_use]
    pub fn stated_length(self, length: u64) -> Self {
        Self { length: Length::Wrong(length), ..self }
    }

    /// Says that it is encoded so. It is not.
    #[must_use]
    pub fn encoding(self, encoding: &'static str) -> Self {
        Self { encoding: Some(encoding), ..self }
    }

    /// Sends the part that is asked for also if it is wanted of another file.
    #[must_use]
    pub fn ignoring_if_range(self) -> Self {
        Self { heeds_if_range: false, ..self }
    }

    /// After one request another file takes its place.
    #[must_use]
    pub fn then(self, successor: Self) -> Self {
        Self { successor: Some(Box::new(successor)), ..self }
    }

    /// What is in it.
    pub const fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn successor(&self) -> Option<Self> {
        self.successor.as_deref().cloned()
    }

    /// Answers a request by RFC 9110, as far as it is not told otherwise.
    pub(super) fn answer(
        &self,
        asked: &HeaderMap,
        fault: Option<&Fault>,
        served: Arc<AtomicU64>,
    ) -> Response {
        let size = self.content.size();
        let (status, part) = match self.part_asked(asked) {
            None => (StatusCode::OK, 0..size),
            Some(first) if first >= size => return unsatisfiable(size),
            Some(first) => (StatusCode::PARTIAL_CONTENT, first..size),
        };
        let (body, honest) = body(&self.content, part.clone(), fault, served);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        self.describe(&part, status, honest, response.headers_mut());
        response
    }

    fn describe(&self, part: &Range<u64>, status: StatusCode, honest: Option<u64>, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, header("application/octet-stream"));
        let length = match self.length {
            Length::Stated => honest,
            Length::Unstated => None,
            Length::Wrong(length) => Some(length),
        };
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if status == StatusCode::PARTIAL_CONTENT {
            let exact = format!("bytes {}-{}/{}", part.start, part.end - 1, self.content.size());
            let range = if let Ranges::Labelled(label) = self.ranges { label } else { &exact };
            headers.insert(CONTENT_RANGE, header(range));
        }
        if !matches!(self.ranges, Ranges::Ignored) {
            headers.insert(ACCEPT_RANGES, header("bytes"));
        }
        let optional = [
            (ETAG, self.etag.as_deref()),
            (LAST_MODIFIED, self.last_modified.as_deref()),
            (CONTENT_ENCODING, self.encoding),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                headers.insert(name, header(value));
            }
        }
    }

    /// The first byte asked for, if a part is to be sent.
    fn part_asked(&self, asked: &HeaderMap) -> Option<u64> {
        if matches!(self.ranges, Ranges::Ignored) {
            return None;
        }
        let first = first_asked(asked)?;
        let is_of_this_file = asked.get(IF_RANGE).is_none_or(|validator| {
            let strong_tag = self.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
            [strong_tag, self.last_modified.as_deref()].into_iter().flatten().any(|own| own == validator)
        });
        (is_of_this_file || !self.heeds_if_range).then_some(first)
    }
}
