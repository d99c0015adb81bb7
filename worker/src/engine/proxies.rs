//! Whose `X-Forwarded-For` is believed.

use std::net::IpAddr;

use http::HeaderMap;
use roomd_wire::{Network, NotANetwork, PeerAddress};

/// The trusted proxies' addresses.
#[derive(Debug, Default)]
pub(super) struct Proxies(Vec<Network>);

impl Proxies {
    /// Reads addresses and ranges.
    pub(super) fn parse(texts: &[String]) -> Result<Proxies, NotANetwork> {
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Proxies)
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
}
