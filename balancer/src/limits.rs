//! How many connections there may be, in all and from one address. No I/O.

use std::{collections::HashMap, net::IpAddr};

use roomd_wire::{Network, PeerAddress};
use rustc_hash::FxBuildHasher;

/// Counts connections against their limits.
#[derive(Debug)]
pub struct Limits {
    in_all: usize,
    per_address: usize,
    trusted: Vec<Network>,
    count: usize,
    by_address: HashMap<IpAddr, usize, FxBuildHasher>,
}

/// Which limit a connection would pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitPassed {
    /// The one for all connections together.
    InAll,
    /// The one for the client's address.
    PerAddress,
}

impl Limits {
    /// Limits for all connections together and for each address; peers in `trusted` networks (proxies, whose clients all
    /// share an address) and Unix sockets count only in all.
    pub fn new(in_all: usize, per_address: usize, trusted: Vec<Network>) -> Self {
        Limits { in_all, per_address, trusted, count: 0, by_address: HashMap::default() }
    }

    /// Counts a connection, or says which limit it passes.
    pub fn open(&mut self, peer: PeerAddress) -> Result<(), LimitPassed> {
        if self.count >= self.in_all {
            return Err(LimitPassed::InAll);
        }
        if let Some(key) = self.key(peer)
            && self.by_address.get(&key).is_some_and(|held| *held >= self.per_address)
        {
            return Err(LimitPassed::PerAddress);
        }
        self.count_in(peer);
        Ok(())
    }

    /// Counts a connection that there is already, whatever the limits say.
    pub fn count_in(&mut self, peer: PeerAddress) {
        if let Some(key) = self.key(peer) {
            *self.by_address.entry(key).or_default() += 1;
        }
        self.count += 1;
    }

    /// A connection that was counted has ended.
    pub fn close(&mut self, peer: PeerAddress) {
        self.count = self.count.saturating_sub(1);
        if let Some(key) = self.key(peer)
            && let Some(held) = self.by_address.get_mut(&key)
        {
            *held -= 1;
            if *held == 0 {
                self.by_address.remove(&key);
            }
        }
    }

    /// Connections open now.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What a peer is counted under: its address, of IPv6 the /64, which is what one customer gets.
    fn key(&self, peer: PeerAddress) -> Option<IpAddr> {
        let PeerAddress::Ip(address, _) = peer else { return None };
        let address = address.to_canonical();
        if self.trusted.iter().any(|network| network.contains(address)) {
            return None;
        }
        Some(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(address: &str) -> PeerAddress {
        PeerAddress::Ip(address.parse().unwrap(), 1)
    }

    #[test]
    fn an_address_has_its_limit_and_all_have_theirs() {
        let mut limits = Limits::new(5, 2, vec![]);
        assert_eq!(limits.open(peer("10.0.0.1")), Ok(()));
        assert_eq!(limits.open(peer("::ffff:10.0.0.1")), Ok(()));
        assert_eq!(limits.open(peer("10.0.0.1")), Err(LimitPassed::PerAddress));
        limits.close(peer("10.0.0.1"));
        assert_eq!(limits.open(peer("10.0.0.1")), Ok(()));
        for address in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
            assert_eq!(limits.open(peer(address)), Ok(()));
        }
        assert_eq!(limits.open(peer("10.0.0.5")), Err(LimitPassed::InAll));
        assert_eq!(limits.count(), 5);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let mut limits = Limits::new(10, 1, vec![]);
        assert_eq!(limits.open(peer("2001:db8::1")), Ok(()));
        assert_eq!(limits.open(peer("2001:db8::ffff:1")), Err(LimitPassed::PerAddress));
        assert_eq!(limits.open(peer("2001:db8:0:1::1")), Ok(()));
    }

    #[test]
    fn a_trusted_proxy_and_a_unix_socket_have_no_limit_of_their_own() {
        let mut limits = Limits::new(10, 1, vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
        for _ in 0..3 {
            for trusted in [peer("10.9.9.9"), peer("::1"), PeerAddress::Unix] {
                assert_eq!(limits.open(trusted), Ok(()));
            }
        }
        assert_eq!(limits.open(peer("11.0.0.1")), Ok(()));
        assert_eq!(limits.open(peer("11.0.0.2")), Err(LimitPassed::InAll));
    }
}
