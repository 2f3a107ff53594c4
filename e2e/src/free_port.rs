//! Finds free loopback ports for servers that take a port only as an argument.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

/// Below Linux's default range for outgoing connections (`net.ipv4.ip_local_port_range`, from 32768): a port that is
/// free now, or is freed by a server that restarts, is not taken by somebody's outgoing connection in between.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
const ATTEMPTS: usize = 200;

/// What this process was given already: its server may not listen yet, or may be about to start again.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// Returns `N` different ports that nothing listens on at 127.0.0.1, none of which this process was given before.
///
/// # Errors
///
/// When no free port was found in a few hundred attempts.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    // All are held until all are found, so that no port comes twice.
    let mut held = Vec::with_capacity(N);
    for _ in 0..ATTEMPTS {
        if held.len() == N {
            break;
        }
        let port = candidate();
        if !given.contains(&port)
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            held.push(listener);
        }
    }
    let ports = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<Vec<u16>>>()?;
    given.extend(&ports);
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
    fn no_port_is_given_twice() -> anyhow::Result<()> {
        let mut seen = HashSet::new();
        // Far more than half the root of the range: of so many draws some would be the same.
        for _ in 0..500 {
            let [port] = free_ports()?;
            assert!(seen.insert(port), "{port} comes twice");
        }
        Ok(())
    }

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
