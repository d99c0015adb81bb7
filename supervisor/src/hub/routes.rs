//! Who wants which channel.

use std::collections::HashMap;

/// A worker's stream, as the hub numbers it.
pub type PeerKey = usize;

/// The subscriptions of all workers. Channels carry names that clients chose, hence the standard hasher.
#[derive(Default)]
pub struct Routes {
    exact: HashMap<Box<[u8]>, Vec<PeerKey>>,
    /// One per namespace with the pattern way of subscribing: few, so that each message may be held against all.
    prefixes: Vec<(Box<[u8]>, Vec<PeerKey>)>,
}

impl Routes {
    /// The peer wants the channel; wanting it twice is wanting it.
    pub fn subscribe(&mut self, peer: PeerKey, channel: &[u8]) {
        match self.exact.get_mut(channel) {
            Some(peers) => add(peers, peer),
            None => {
                self.exact.insert(channel.into(), vec![peer]);
            }
        }
    }

    /// It no longer does.
    pub fn unsubscribe(&mut self, peer: PeerKey, channel: &[u8]) {
        if let Some(peers) = self.exact.get_mut(channel) {
            peers.retain(|&other| other != peer);
            if peers.is_empty() {
                self.exact.remove(channel);
            }
        }
    }

    /// The peer wants all channels that begin so.
    pub fn subscribe_prefix(&mut self, peer: PeerKey, prefix: &[u8]) {
        match self.prefixes.iter_mut().find(|(known, _)| **known == *prefix) {
            Some((_, peers)) => add(peers, peer),
            None => self.prefixes.push((prefix.into(), vec![peer])),
        }
    }

    /// It no longer does.
    pub fn unsubscribe_prefix(&mut self, peer: PeerKey, prefix: &[u8]) {
        if let Some(at) = self.prefixes.iter().position(|(known, _)| **known == *prefix) {
            let peers = &mut self.prefixes[at].1;
            peers.retain(|&other| other != peer);
            if peers.is_empty() {
                self.prefixes.swap_remove(at);
            }
        }
    }

    /// The peer is gone.
    pub fn remove_peer(&mut self, peer: PeerKey) {
        self.exact.retain(|_, peers| {
            peers.retain(|&other| other != peer);
            !peers.is_empty()
        });
        self.prefixes.retain_mut(|(_, peers)| {
            peers.retain(|&other| other != peer);
            !peers.is_empty()
        });
    }

    /// Puts each peer that wants a message of the channel into the list, once, but for its sender.
    pub fn recipients(&self, channel: &[u8], sender: PeerKey, into: &mut Vec<PeerKey>) {
        into.clear();
        if let Some(peers) = self.exact.get(channel) {
            into.extend(peers.iter().filter(|&&peer| peer != sender));
        }
        for (_, peers) in self.prefixes.iter().filter(|(prefix, _)| channel.starts_with(prefix)) {
            for &peer in peers {
                if peer != sender && !into.contains(&peer) {
                    into.push(peer);
                }
            }
        }
    }

    /// The peers that subscribed to exactly this channel.
    pub fn subscribers(&self, channel: &[u8]) -> &[PeerKey] {
        self.exact.get(channel).map_or(&[], Vec::as_slice)
    }

    /// The channels that a peer subscribed to, and the prefixes.
    pub fn of(&self, peer: PeerKey) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let exact = self.exact.iter().filter(|(_, peers)| peers.contains(&peer));
        let prefixes = self.prefixes.iter().filter(|(_, peers)| peers.contains(&peer));
        (exact.map(|(name, _)| name.to_vec()).collect(), prefixes.map(|(name, _)| name.to_vec()).collect())
    }

    /// How many channels and prefixes are subscribed to by someone.
    pub fn len(&self) -> usize {
        self.exact.len() + self.prefixes.len()
    }
}

fn add(peers: &mut Vec<PeerKey>, peer: PeerKey) {
    if !peers.contains(&peer) {
        peers.push(peer);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn recipients(routes: &Routes, channel: &str, sender: PeerKey) -> Vec<PeerKey> {
        let mut peers = vec![99];
        routes.recipients(channel.as_bytes(), sender, &mut peers);
        peers.sort_unstable();
        peers
    }

    #[test]
    fn a_message_goes_once_to_each_that_wants_it_and_not_to_its_sender() {
        let mut routes = Routes::default();
        routes.subscribe(1, b"a#room#");
        routes.subscribe(1, b"a#room#");
        routes.subscribe(2, b"a#room#");
        routes.subscribe_prefix(1, b"a#");
        routes.subscribe_prefix(3, b"a#");
        routes.subscribe_prefix(3, b"a#room");
        assert_eq!(recipients(&routes, "a#room#", 2), [1, 3]);
        assert_eq!(recipients(&routes, "a#room#", 9), [1, 2, 3]);
        assert_eq!(recipients(&routes, "a#", 9), [1, 3]);
        assert!(recipients(&routes, "a", 9).is_empty());
        assert_eq!(routes.subscribers(b"a#room#").len(), 2);
    }

    #[test]
    fn what_nobody_wants_any_more_takes_no_place() {
        let mut routes = Routes::default();
        routes.subscribe(1, b"a");
        routes.subscribe(2, b"a");
        routes.subscribe_prefix(1, b"b");
        routes.unsubscribe(1, b"a");
        routes.unsubscribe(1, b"never");
        routes.unsubscribe_prefix(2, b"b");
        assert_eq!((routes.subscribers(b"a"), routes.len()), (&[2][..], 2));
        routes.unsubscribe(2, b"a");
        routes.unsubscribe_prefix(1, b"b");
        assert_eq!(routes.len(), 0);
        routes.subscribe(1, b"a");
        routes.subscribe_prefix(1, b"b");
        routes.remove_peer(1);
        assert_eq!(routes.len(), 0);
    }

    #[test]
    fn random_subscriptions_agree_with_a_plain_model() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let names = ["", "a", "ab", "abc", "b", "ba"];
        let mut routes = Routes::default();
        let mut model: BTreeSet<(PeerKey, bool, &str)> = BTreeSet::new();
        for step in 0..5_000 {
            let (peer, name, exact) = (rng.usize(..4), names[rng.usize(..names.len())], rng.bool());
            match (rng.u8(..20), exact) {
                (0, _) => {
                    routes.remove_peer(peer);
                    model.retain(|(other, ..)| *other != peer);
                }
                (1..=10, true) => {
                    routes.subscribe(peer, name.as_bytes());
                    model.insert((peer, true, name));
                }
                (1..=10, false) => {
                    routes.subscribe_prefix(peer, name.as_bytes());
                    model.insert((peer, false, name));
                }
                (_, true) => {
                    routes.unsubscribe(peer, name.as_bytes());
                    model.remove(&(peer, true, name));
                }
                (_, false) => {
                    routes.unsubscribe_prefix(peer, name.as_bytes());
                    model.remove(&(peer, false, name));
                }
            }
            let (channel, sender) = (names[rng.usize(..names.len())], rng.usize(..4));
            let expected: BTreeSet<PeerKey> = model
                .iter()
                .filter(|(_, exact, name)| if *exact { *name == channel } else { channel.starts_with(name) })
                .map(|(peer, ..)| *peer)
                .filter(|peer| *peer != sender)
                .collect();
            let expected: Vec<PeerKey> = expected.into_iter().collect();
            assert_eq!(recipients(&routes, channel, sender), expected, "seed {seed} step {step}");
        }
    }
}
