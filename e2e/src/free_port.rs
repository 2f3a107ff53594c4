//! Finds free loopback ports for servers that take a port only as an argument.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

/// Below Linux's default range for outgoing connections (`net.ipv4.ip_local_port_range`, from 32768): a port that is
/// free now, or is freed by a server that restarts, is not taken by somebody's outgoing connection in between.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
const ATTEMPTS: usize = 200;

/// Returns `N` different ports that nothing listens on at 127.0.0.1.
///
/// # Errors
///
/// When no free port was found in a few hundred attempts.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // All are held until all are found, so that no port comes twice.
    let mut held = Vec::with_capacity(N);
    for _ in 0..ATTEMPTS {
        if held.len() == N {
            break;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, candidate())) {
            held.push(listener);
        }
    }
    let ports = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<Vec<u16>>>()?;
    <[u16; N]>::try_from(ports)
        .ok()
        .with_context(|| format!("could not find {N} free loopback ports between {FIRST} and {LAST}"))
}

/// A number from the range; the randomly keyed hasher of the standard library is random enough to keep test processes apart.
fn candidate() -> u16 {
    let spread = u64::from(LAST - FIRST);
    let offset = RandomState::new().hash_one(FIRST) % spread;
    FIRST + u16::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_in_range() -> anyhow::Result<()> {
        let mut ports = free_ports::<20>()?.to_vec();
        assert!(ports.iter().all(|port| (FIRST..LAST).contains(port)), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        Ok(())
    }
}
