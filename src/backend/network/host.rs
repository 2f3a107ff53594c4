//! Hosts that whoever runs the process allows, and the places of the providers' own services.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// A host that Stores may name: `vault.example.com`, `vault.example.com:8200`, `10.0.0.7`, or `*.example.com` for every
/// name below it. Without a port, every port is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// Lower case, without the `*.`.
    name: String,
    below: bool,
    port: Option<u16>,
}

/// What an argument should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct ParseError(&'static str);

impl FromStr for AllowedHost {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: ParseError =
            ParseError("a host such as vault.example.com, vault.example.com:8200 or *.example.com");
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains(['*', '/', '@', '?', '#']) || rest.is_empty() {
            return Err(EXPECTED);
        }
        // The URL parser brings names and addresses into the one form that Stores' addresses come in, too.
        let url = Url::parse(&format!("https://{rest}")).map_err(|_| EXPECTED)?;
        let name = url.host_str().ok_or(EXPECTED)?.to_owned();
        if below && (literal(&url).is_some() || !name.contains('.')) {
            return Err(EXPECTED);
        }
        // 443 written out is dropped by the parser, as the scheme's own.
        let port = url.port().or_else(|| rest.ends_with(":443").then_some(443));
        Ok(Self { name, below, port })
    }
}

impl AllowedHost {
    /// Whether a host, in the URL standard's form, is meant.
    #[must_use]
    pub fn admits(&self, host: &str, port: Option<u16>) -> bool {
        let named = if self.below {
            host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.name
        };
        named && (self.port.is_none() || self.port == port)
    }
}

/// A service of a provider beside the stores themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// AWS STS: roles and web identities.
    AwsSts,
    /// AWS KMS: keys of SOPS files.
    AwsKms,
    /// Microsoft Entra ID: tokens for Azure.
    AzureLogin,
    /// Azure Key Vault: keys of SOPS files, whichever vault they are in.
    AzureKeys,
    /// Google Cloud STS: tokens for federated identities.
    GcpSts,
    /// Google Cloud IAM Credentials: tokens of service accounts.
    GcpIamCredentials,
    /// Google's OAuth server: tokens for keys of service accounts.
    GcpOauth,
    /// Google Cloud KMS: keys of SOPS files.
    GcpKms,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 8] = [
        Self::AwsSts,
        Self::AwsKms,
        Self::AzureLogin,
        Self::AzureKeys,
        Self::GcpSts,
        Self::GcpIamCredentials,
        Self::GcpOauth,
        Self::GcpKms,
    ];

    /// Its name in arguments.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwsSts => "aws-sts",
            Self::AwsKms => "aws-kms",
            Self::AzureLogin => "azure-login",
            Self::AzureKeys => "azure-keys",
            Self::GcpSts => "gcp-sts",
            Self::GcpIamCredentials => "gcp-iam-credentials",
            Self::GcpOauth => "gcp-oauth",
            Self::GcpKms => "gcp-kms",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where a provider's service is asked instead of at the provider's own address: `aws-sts=https://sts.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// Which service.
    pub service: Service,
    /// Where.
    pub url: Url,
}

impl FromStr for ServiceEndpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: ParseError = ParseError(
            "SERVICE=https://HOST, where SERVICE is aws-sts, aws-kms, azure-login, azure-keys, gcp-sts, gcp-iam-credentials, \
             gcp-oauth or gcp-kms",
        );
        let (name, url) = text.split_once('=').ok_or(EXPECTED)?;
        let service = Service::ALL.into_iter().find(|service| service.as_str() == name).ok_or(EXPECTED)?;
        let url = Url::parse(url).map_err(|_| EXPECTED)?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !plain || url.host_str().is_none_or(str::is_empty) || !matches!(url.scheme(), "https" | "http") {
            return Err(EXPECTED);
        }
        Ok(Self { service, url })
    }
}

/// The address that a URL's host is, if it is one and no name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    // IPv6 addresses come in brackets.
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Whether a URL's host is this machine, by its address or as `localhost`.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || literal(url).is_some_and(|address| address.is_loopback())
}
