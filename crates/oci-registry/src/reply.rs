use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use outbound_http::{retry_after, total_of_rest};
use reqwest::header::{CONTENT_RANGE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};

use crate::Error;
use crate::answer::Answer;
use crate::blob::Source;
use crate::challenge::Challenge;
use crate::deadline::Deadline;
use crate::excerpt::Excerpt;
use crate::redacted_url::RedactedUrl;
use crate::subject::Subject;

/// The head of an answer, its body still to come.
pub(crate) struct Reply {
    pub(crate) response: Response,
    /// Who answered.
    pub(crate) url: RedactedUrl,
    /// Whether that is somebody else than was asked, such as a CDN.
    pub(crate) redirected: bool,
    /// Until when the rest has to come, unless it is a layer.
    pub(crate) deadline: Deadline,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        let headers = self.response.headers().get_all(WWW_AUTHENTICATE).iter();
        headers.filter_map(|header| header.to_str().ok()).flat_map(Challenge::parse_header).collect()
    }

    /// The whole body, if it is no longer than `limit`.
    pub(crate) async fn body(self, subject: &Subject, limit: u64) -> Result<Bytes, Error> {
        let (deadline, url) = (self.deadline, self.url.clone());
        deadline.hold(url, self.bytes(subject, limit)).await
    }

    async fn bytes(self, subject: &Subject, limit: u64) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge { subject: subject.clone(), limit };
        if self.response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        let mut stream = self.response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk
                .map_err(|error| Error::Transport { url: self.url.clone(), source: error.without_url() })?;
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// How many bytes stand in this answer before those that were asked for. None, or all if the peer knows no ranges.
    pub(crate) fn bytes_before(&self, offset: u64, subject: &Subject, size: u64) -> Result<u64, Error> {
        let (url, subject) = (self.url.clone(), subject.clone());
        if self.status() == StatusCode::OK {
            match self.response.content_length() {
                Some(stated) if stated != size => {
                    Err(Error::WrongLength { subject, url, expected: size, stated })
                }
                _ => Ok(offset),
            }
        } else {
            let headers = self.response.headers();
            if self.status() == StatusCode::PARTIAL_CONTENT && total_of_rest(headers, offset) == Some(size) {
                return Ok(0);
            }
            let header = headers.get(CONTENT_RANGE);
            let content_range = header.map(|header| Excerpt::of(&String::from_utf8_lossy(header.as_bytes())));
            Err(Error::WrongRange { subject, url, offset, content_range })
        }
    }

    pub(crate) fn into_source(self) -> Source {
        Box::pin(self.response.bytes_stream().map(|chunk| chunk.map_err(|error| error.without_url().into())))
    }

    /// The error that an unexpected status is, for whoever has no better name for it.
    pub(crate) async fn into_error(self, subject: &Subject) -> Error {
        let (status, url, retry_after) = (self.status(), self.url.clone(), self.retry_after());
        let answer = self.answer().await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            Error::RateLimited { url, retry_after, answer }
        } else {
            Error::Status { subject: subject.clone(), url, status, retry_after, answer }
        }
    }

    /// What the body of a refusal says. Whatever goes wrong with it is not worth an error of its own.
    pub(crate) async fn answer(self) -> Answer {
        let (deadline, url) = (self.deadline, self.url.clone());
        deadline.hold(url, self.words()).await.unwrap_or_default()
    }

    async fn words(mut self) -> Result<Answer, Error> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > Answer::MAX_SIZE {
                return Ok(Answer::default());
            }
        }
        Ok(Answer::parse(&body))
    }

    fn retry_after(&self) -> Option<Duration> {
        retry_after(self.response.headers(), SystemTime::now())
    }
}
