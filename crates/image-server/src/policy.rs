//! What the service's operator decides about requests: where they come, who may read answers, and how many at a time.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::base_url::BaseUrl;
use crate::cors::AllowedOrigins;

/// The operator's decisions. The default is what a service without any setting does.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Under which URL hosts reach this service (`IMAGE_SERVICE_BASE_URL`). Without one there are no minimal ISOs.
    pub base_url: Option<BaseUrl>,
    /// The web pages that may read answers for images and boot artifacts (`ALLOWED_DOMAINS`).
    pub allowed_origins: AllowedOrigins,
    /// How many requests for images are served at a time, and as many again for boot artifacts
    /// (`MAX_CONCURRENT_REQUESTS`).
    pub max_concurrent_requests: NonZeroU32,
    /// How long a request waits for another to end before it is turned away.
    pub queue_time: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            base_url: None,
            allowed_origins: AllowedOrigins::default(),
            max_concurrent_requests: const { NonZeroU32::new(400).unwrap() },
            queue_time: Duration::from_secs(30),
        }
    }
}
