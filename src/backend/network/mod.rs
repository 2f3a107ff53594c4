//! The one door to the network for stores: which hosts, which addresses, how much and how long.
//!
//! Every driver sends through a [`Client`] of one [`Network`]; the SDKs get it as their transport, so that these rules
//! hold for all of them alike:
//!
//! 1. A host is derived from the provider, or whoever runs the process allows it ([`Network::custom`]); otherwise
//!    [`ErrorKind::EndpointNotAllowed`].
//! 2. https only, TLS 1.2 or newer, certificates checked. Plain http exists for loopback alone, and loopback only with
//!    [`Settings::loopback`], which is meant for tests.
//! 3. A name is resolved once for each connection, every address is checked, and the connection goes to one of those
//!    ([`address`]). A name that changes its answer in between gains nothing.
//! 4. No redirects, no proxies from the environment, no cookies, no decompression.
//! 5. An answer has a size limit while it is read, and a connection has a deadline. The deadline of a whole call belongs
//!    to [`guarded`](super::guarded).
//! 6. Nothing that the remote side sent is in an error.

pub mod address;
mod client;
mod host;
pub mod rustify;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use reqwest::Url;

pub use self::client::{Client, Request, Response, find, retry_after};
pub use self::host::{AllowedHost, ParseError, Service, ServiceEndpoint};
use super::{Error, ErrorKind};

/// What whoever runs the process says about the network.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Hosts that a Store may name.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Other addresses of the providers' own services, such as a private endpoint of AWS STS.
    pub services: Vec<ServiceEndpoint>,
    /// Certificate authorities (PEM) beside the system's.
    pub roots: Vec<u8>,
    /// Whether loopback addresses may be used, with http, too. For tests.
    pub loopback: bool,
    /// Addresses of the API server, where no store is.
    pub refused: BTreeSet<IpAddr>,
}

/// See the module documentation. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Network {
    rules: Arc<Rules>,
    shared: Client,
}

/// What is checked for every connection.
#[derive(Clone)]
pub(crate) struct Rules {
    allowed_hosts: Vec<AllowedHost>,
    services: BTreeMap<Service, Url>,
    roots: Vec<u8>,
    loopback: bool,
    refused: BTreeSet<IpAddr>,
    lookup: address::Lookup,
    /// Whether the metadata service of the machine is what is to be reached, and nothing else.
    metadata: bool,
}

/// The metadata service of a machine in Azure, which is also that of AWS and of Google Cloud.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

impl Network {
    /// The network under these rules, with the system's name service.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the certificate authorities or an address cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::with_lookup(settings, address::system())
    }

    /// As [`Self::new`], with another name service.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_lookup(settings: Settings, lookup: address::Lookup) -> Result<Self, Error> {
        let Settings { allowed_hosts, services, roots, loopback, refused } = settings;
        let services = services.into_iter().map(|endpoint| (endpoint.service, endpoint.url)).collect();
        let rules = Arc::new(Rules { allowed_hosts, services, roots, loopback, refused, lookup, metadata: false });
        for url in rules.services.values() {
            rules.check_scheme(url)?;
        }
        let shared = Client::new(&rules, None)?;
        Ok(Self { rules, shared })
    }

    /// The client that trusts the system's certificate authorities and those of [`Settings::roots`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.shared.clone()
    }

    /// A client that trusts only these certificate authorities (PEM).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if they cannot be read.
    pub fn client_trusting(&self, authorities: &[u8]) -> Result<Client, Error> {
        Client::new(&self.rules, Some(authorities))
    }

    /// A client for the metadata service of the machine, which has no TLS, and for nothing else. What it gives are the
    /// machine's own credentials: only those who may use them get this.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the system has no TLS to offer.
    pub fn client_for_metadata(&self) -> Result<Client, Error> {
        Client::new(&Arc::new(Rules { metadata: true, ..Rules::clone(&self.rules) }), None)
    }

    /// An address that a Store names in `field`: https (http on loopback, where that is allowed), a host on the
    /// allow-list, and neither credentials, query nor fragment.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] or [`ErrorKind::EndpointNotAllowed`].
    pub fn custom(&self, field: &str, text: &str) -> Result<Url, Error> {
        let url = self.parse(field, text)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default();
        let allowed = self.rules.allowed_hosts.iter().any(|allowed| allowed.admits(host, port))
            || (self.rules.loopback && host::is_loopback(&url));
        if allowed {
            return Ok(url);
        }
        let message = format!(
            "{field}: host {host} is not on the list of hosts that may be asked; --allow-endpoint {host} puts it there"
        );
        Err(Error::new(ErrorKind::EndpointNotAllowed, message))
    }

    /// An address that a Store names in `field` and whose host the provider owns, as `is_providers` says; any other host
    /// must be on the allow-list.
    ///
    /// # Errors
    /// As [`Self::custom`].
    pub fn custom_or_providers(
        &self,
        field: &str,
        text: &str,
        is_providers: impl Fn(&str) -> bool,
    ) -> Result<Url, Error> {
        let url = self.parse(field, text)?;
        if url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(is_providers) {
            return Ok(url);
        }
        self.custom(field, text)
    }

    /// Where whoever runs the process wants a provider's own service to be asked; `None` for the provider's address.
    #[must_use]
    pub fn service(&self, service: Service) -> Option<&Url> {
        self.rules.services.get(&service)
    }

    fn parse(&self, field: &str, text: &str) -> Result<Url, Error> {
        let invalid = |what: &str| Error::new(ErrorKind::InvalidConfig, format!("{field} {what}"));
        let url = Url::parse(text).map_err(|_| invalid("is not an address such as https://host.example"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not hold credentials: name them under auth"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("must have neither a query nor a fragment"));
        }
        self.rules.check_scheme(&url).map_err(|error| error.in_context(field))?;
        self.rules.check_literal(&url).map_err(|error| error.in_context(field))?;
        Ok(url)
    }
}

impl Rules {
    fn check_scheme(&self, url: &Url) -> Result<(), Error> {
        match url.scheme() {
            "https" if !self.metadata => Ok(()),
            "http" if self.metadata && url.port().is_none() && host::literal(url) == Some(METADATA) => Ok(()),
            "http" if self.loopback && host::is_loopback(url) => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidConfig, "the address must begin with https://")),
        }
    }

    /// Checks an address that is written out, in any of the forms that the URL standard reads as one.
    fn check_literal(&self, url: &Url) -> Result<(), Error> {
        match host::literal(url) {
            Some(address) => self.check_address(address),
            None => Ok(()),
        }
    }

    /// Whether a connection may go to this address.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), Error> {
        let address = address.to_canonical();
        let refused = match address::class(address) {
            address::Class::Loopback if self.loopback => return Ok(()),
            _ if self.metadata && address == METADATA => return Ok(()),
            address::Class::Loopback => "a loopback address",
            address::Class::Special(what) => what,
            address::Class::Ordinary if self.refused.contains(&address) => "the API server's own address",
            address::Class::Ordinary => return Ok(()),
        };
        Err(Error::new(ErrorKind::EndpointNotAllowed, format!("the host leads to {refused}, where no store may be")))
    }

    /// Resolves a name and checks every address. One bad address refuses all: a name that leads to both is a trap.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let found = (self.lookup)(name.to_owned()).await;
        let addresses = found.map_err(|_| Error::new(ErrorKind::Unavailable, format!("cannot resolve host {name}")))?;
        for address in &addresses {
            self.check_address(*address).map_err(|error| error.in_context(name))?;
        }
        Ok(addresses)
    }
}
