//! What every driver of an AWS service shares: the SDK behind our own transport, and the errors of AWS in our words.
//!
//! The SDK is set up by hand, so that nothing of it reads the environment: region and endpoint come from the Store, the
//! transport is [`network`](super::network)'s, there is no retry and no timeout ([`guarded`](super::guarded) has both), and
//! credentials are kept by [`credentials::aws`](super::credentials::aws) alone.
//!
//! A clock that is wrong is the SDK's business: it learns the difference from the `Date` of an answer and signs the next
//! request with it (`aws_runtime::service_clock_skew`), so that only the first call after a jump can fail.

pub mod error;
mod transport;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use self::transport::Transport;
use super::network::Client;
use super::{Error, ErrorKind};

/// Part of the `User-Agent`, which AWS CloudTrail keeps.
const APPLICATION: &str = "atmos-secrets-operator";

/// The longest name of a region that is believed.
const LONGEST_REGION: usize = 64;

/// Whether a region that a Store names in `field` can be one. It becomes part of a host's name, so that nothing else may
/// get in by it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`].
pub fn check_region(field: &str, region: &str) -> Result<(), Error> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=LONGEST_REGION).contains(&region.len()) && region.bytes().all(is_plain) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, format!("{field} names no region such as us-east-1")))
}

/// What the client of one service in one region is made of.
pub struct Place<'a> {
    /// The region.
    pub region: &'a str,
    /// Where the service is; `None` for AWS's own address in the region.
    pub endpoint: Option<&'a str>,
    /// The way there.
    pub network: Client,
}

impl Place<'_> {
    /// The configuration of a client that signs with what `credentials` gives.
    #[must_use]
    pub fn config(self, credentials: Option<SharedCredentialsProvider>) -> SdkConfig {
        let Self { region, endpoint, network } = self;
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Kept, shared and renewed in one place, which the SDK's own cache knows nothing of.
            .identity_cache(aws_config::identity::IdentityCache::no_cache())
            .http_client(Transport::new(network));
        builder.set_endpoint_url(endpoint.map(str::to_owned));
        builder.set_credentials_provider(credentials);
        builder.set_app_name(AppName::new(APPLICATION).ok());
        builder.build()
    }
}

/// A call of the SDK that logs nothing: at its finest level the SDK prints whole requests and answers, and so values.
pub async fn quiet<T>(call: impl Future<Output = T>) -> T {
    call.with_subscriber(NoSubscriber::default()).await
}
