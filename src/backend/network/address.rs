//! Addresses where a store can be, and those where none may be.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;

/// A name service: the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// What a [`Lookup`] returns.
pub type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// The system's name service.
#[must_use]
pub fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            // The port is no part of the question.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// This machine.
    Loopback,
    /// No place for a store; what it is.
    Special(&'static str),
    /// Everything else. Private addresses are among them: in-cluster Vault, VPC endpoints and private links live there,
    /// and the TLS name is the proof.
    Ordinary,
}

/// The class of an address. An IPv4 address within IPv6 counts as what it is.
///
/// Sources: the special-purpose registries of IANA (RFC 6890), and the vendors' pages on instance metadata.
#[must_use]
pub fn class(address: IpAddr) -> Class {
    match address.to_canonical() {
        IpAddr::V4(address) => class_of_v4(address),
        IpAddr::V6(address) => class_of_v6(address),
    }
}

fn class_of_v4(address: Ipv4Addr) -> Class {
    // Metadata services outside the link-local range: Azure's wire server and Alibaba Cloud.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];
    match address.octets() {
        [127, ..] => Class::Loopback,
        // 169.254.169.254 of AWS, Azure and Google Cloud, 169.254.170.2 and .23 of ECS and EKS are among them.
        [169, 254, ..] => Class::Special("a link-local or metadata address"),
        _ if METADATA.contains(&address) => Class::Special("a metadata address"),
        [0, ..] => Class::Special("an unspecified address"),
        [224..=255, ..] => Class::Special("a multicast or reserved address"),
        _ => Class::Ordinary,
    }
}

fn class_of_v6(address: Ipv6Addr) -> Class {
    // Metadata of AWS (fd00:ec2::254) and of EKS Pod Identity (fd00:ec2::23), and of Google Cloud (fd20:ce::254).
    const METADATA: [Ipv6Addr; 3] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    let segments = address.segments();
    if address.is_loopback() {
        return Class::Loopback;
    }
    if address.is_unspecified() {
        return Class::Special("an unspecified address");
    }
    if METADATA.contains(&address) {
        return Class::Special("a metadata address");
    }
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = segments;
    match first {
        0xfe80..=0xfebf => return Class::Special("a link-local address"),
        0xff00..=0xffff => return Class::Special("a multicast address"),
        _ => {}
    }
    // Forms that carry an IPv4 address: NAT64 (RFC 6052), 6to4 (RFC 3056), and the old "compatible" form (RFC 4291).
    let carried = match [first, second, third, fourth, fifth, sixth] {
        [0x64, 0xff9b, 0, 0, 0, 0] | [0, 0, 0, 0, 0, 0] => Some([seventh, eighth]),
        [0x2002, high, low, ..] => Some([high, low]),
        _ => None,
    };
    match carried {
        Some([high, low]) => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            match class_of_v4(Ipv4Addr::new(a, b, c, d)) {
                // A loopback address in disguise is a trap even where loopback is allowed.
                Class::Loopback => Class::Special("a loopback address in disguise"),
                other => other,
            }
        }
        None => Class::Ordinary,
    }
}
