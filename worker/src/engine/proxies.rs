//! Whose `X-Forwarded-For` is believed.

use std::net::IpAddr;

use http::HeaderMap;
use roomd_wire::PeerAddress;
use thiserror::Error;

/// The trusted proxies' addresses.
#[derive(Debug, Default)]
pub(super) struct Proxies(Vec<Network>);

#[derive(Debug, PartialEq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

/// An address in the configuration that is none.
#[derive(Debug, Error)]
#[error("read the trusted proxy {0:?}: write an address or address/prefix, as 10.0.0.0/8")]
pub struct ProxyError(String);

impl Proxies {
    /// Reads addresses, with or without a prefix.
    pub(super) fn parse(texts: &[String]) -> Result<Proxies, ProxyError> {
        texts
            .iter()
            .map(|text| Network::parse(text).ok_or_else(|| ProxyError(text.clone())))
            .collect::<Result<_, _>>()
            .map(Proxies)
    }

    /// The client's address: the peer's own, unless that is a trusted proxy; then the last one in its `X-Forwarded-For` that is
    /// no trusted proxy.
    pub(super) fn client(&self, peer: PeerAddress, headers: &HeaderMap) -> PeerAddress {
        let trusted = match peer {
            PeerAddress::Ip(ip, _) => self.contains(ip),
            // Whoever may connect to our Unix socket is on this host, and in front of somebody else.
            PeerAddress::Unix => !self.0.is_empty(),
        };
        if !trusted {
            return peer;
        }
        let forwarded = headers.get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
        let addresses: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut client = peer;
        for text in addresses.into_iter().rev() {
            let Ok(ip) = text.parse::<IpAddr>() else { break };
            client = PeerAddress::Ip(ip, 0);
            if !self.contains(ip) {
                break;
            }
        }
        client
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then_some(Network { address, prefix })
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix);
                (u32::from(network) ^ u32::from(ip)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix);
                (u128::from(network) ^ u128::from(ip)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::parse(&trusted.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let peer = peer.parse().map_or(PeerAddress::Unix, |ip| PeerAddress::Ip(ip, 1234));
        match proxies.client(peer, &headers) {
            PeerAddress::Ip(ip, _) => ip.to_string(),
            PeerAddress::Unix => "unix".into(),
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        for (trusted, peer, forwarded, expected) in [
            (&[][..], "1.1.1.1", &["2.2.2.2"][..], "1.1.1.1"),
            (&["1.1.1.1"], "1.1.1.1", &["2.2.2.2"], "2.2.2.2"),
            (&["1.1.1.1"], "1.1.1.2", &["2.2.2.2"], "1.1.1.2"),
            (&["10.0.0.0/8"], "10.9.9.9", &["6.6.6.6, 2.2.2.2, 10.1.1.1"], "2.2.2.2"),
            (&["10.0.0.0/8"], "10.9.9.9", &["6.6.6.6", "2.2.2.2", "10.1.1.1"], "2.2.2.2"),
            (&["10.0.0.0/8"], "10.9.9.9", &["10.1.1.1"], "10.1.1.1"),
            (&["10.0.0.0/8"], "10.9.9.9", &["nonsense"], "10.9.9.9"),
            (&["10.0.0.0/8"], "10.9.9.9", &[], "10.9.9.9"),
            (&["10.0.0.0/8"], "::ffff:10.9.9.9", &["2.2.2.2"], "2.2.2.2"),
            (&["fd00::/8"], "fd12::1", &["2001:db8::1"], "2001:db8::1"),
            (&["0.0.0.0/0"], "9.9.9.9", &["2.2.2.2"], "2.2.2.2"),
            (&["10.0.0.0/8"], "unix", &["2.2.2.2"], "2.2.2.2"),
            (&[], "unix", &["2.2.2.2"], "unix"),
        ] {
            assert_eq!(client(trusted, peer, forwarded), expected, "{trusted:?} {peer} {forwarded:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/", "::/129", "localhost"] {
            let error = Proxies::parse(&[text.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")));
        }
    }
}
