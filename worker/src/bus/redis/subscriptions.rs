//! What is wanted, what the server has confirmed, and which of a message's copies counts. No I/O.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
};

use super::resp::command_for_all;

/// How many channels one command subscribes to when all are made again.
const BATCH: usize = 500;

/// The channels and prefixes that are wanted, whether or not there is a connection.
#[derive(Default)]
pub struct Wanted {
    exact: HashSet<Box<str>>,
    prefixes: HashSet<Box<str>>,
}

/// What the server has confirmed on this connection.
#[derive(Default)]
pub struct Active {
    exact: HashSet<Box<[u8]>>,
    /// Patterns by the prefix each stands for.
    patterns: BTreeMap<Vec<u8>, Box<[u8]>>,
}

impl Wanted {
    /// True if that is new.
    pub fn add(&mut self, channel: &str) -> bool {
        !self.exact.contains(channel) && self.exact.insert(channel.into())
    }

    /// True if it was there.
    pub fn remove(&mut self, channel: &str) -> bool {
        self.exact.remove(channel)
    }

    /// True if that is new.
    pub fn add_prefix(&mut self, prefix: &str) -> bool {
        !self.prefixes.contains(prefix) && self.prefixes.insert(prefix.into())
    }

    /// True if it was there.
    pub fn remove_prefix(&mut self, prefix: &str) -> bool {
        self.prefixes.remove(prefix)
    }

    /// Appends the commands that subscribe to everything.
    pub fn subscribe_all(&self, into: &mut Vec<u8>) {
        let channels: Vec<&[u8]> = self.exact.iter().map(|channel| channel.as_bytes()).collect();
        let patterns: Vec<Vec<u8>> = self.prefixes.iter().map(|prefix| pattern(prefix)).collect();
        for batch in channels.chunks(BATCH) {
            command_for_all(into, b"SUBSCRIBE", batch.iter().copied());
        }
        for batch in patterns.chunks(BATCH) {
            command_for_all(into, b"PSUBSCRIBE", batch.iter().map(Vec::as_slice));
        }
    }
}

impl Active {
    /// A confirmation came: its kind and the channel or pattern.
    pub fn confirm(&mut self, kind: &[u8], name: &[u8]) {
        match kind {
            b"subscribe" => {
                self.exact.insert(name.into());
            }
            b"unsubscribe" => {
                self.exact.remove(name);
            }
            b"psubscribe" => {
                self.patterns.insert(prefix(name), name.into());
            }
            b"punsubscribe" => {
                self.patterns.remove(&prefix(name));
            }
            _ => {}
        }
    }

    /// Whether this is the copy to deliver of a message that came by a pattern. The server sends one copy for the channel
    /// and one for each pattern that fits, to each by what is in force at that place of the stream: the channel's
    /// counts, else that of the pattern that says most.
    pub fn counts(&self, by_pattern: &[u8], channel: &[u8]) -> bool {
        if self.exact.contains(channel) {
            return false;
        }
        self.longest(channel).is_none_or(|pattern| *pattern == *by_pattern)
    }

    /// The pattern with the longest prefix that fits, with no look at most others: there is one for each namespace.
    fn longest(&self, channel: &[u8]) -> Option<&[u8]> {
        let mut up_to = channel;
        loop {
            let range = (Bound::Unbounded, Bound::Included(up_to));
            let (prefix, pattern) = self.patterns.range::<[u8], _>(range).next_back()?;
            // None that fits comes after it, and one before it is no longer than what both have in common.
            let common = prefix.iter().zip(up_to).take_while(|(one, other)| one == other).count();
            if common == prefix.len() {
                return Some(pattern);
            }
            up_to = &up_to[..common];
        }
    }
}

/// The pattern of all channels that begin so: what has a meaning in patterns is escaped.
pub fn pattern(prefix: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix.as_bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

/// The prefix that such a pattern stands for.
fn prefix(pattern: &[u8]) -> Vec<u8> {
    let mut bytes = pattern.strip_suffix(b"*").unwrap_or(pattern).iter();
    let mut prefix = Vec::with_capacity(pattern.len());
    while let Some(&byte) = bytes.next() {
        prefix.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn a_pattern_means_its_prefix_and_nothing_else() {
        let cases = [("socket.io#/#", "socket.io#/#*"), ("a*b?[c]\\", "a\\*b\\?\\[c\\]\\\\*"), ("", "*")];
        for (text, expected) in cases {
            assert_eq!(pattern(text), expected.as_bytes());
            assert_eq!(prefix(expected.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn one_copy_of_a_message_counts_by_what_is_confirmed_at_that_place() {
        let mut active = Active::default();
        active.confirm(b"psubscribe", b"a*");
        active.confirm(b"psubscribe", b"ab*");
        assert!(!active.counts(b"a*", b"abc"));
        assert!(active.counts(b"ab*", b"abc"));
        assert!(active.counts(b"a*", b"ac"));
        active.confirm(b"psubscribe", b"abb*");
        assert!(active.counts(b"ab*", b"abc"));
        active.confirm(b"subscribe", b"abc");
        assert!(!active.counts(b"ab*", b"abc"));
        assert!(active.counts(b"ab*", b"abd"));
        active.confirm(b"unsubscribe", b"abc");
        active.confirm(b"punsubscribe", b"ab*");
        assert!(active.counts(b"a*", b"abc"));
    }

    #[test]
    fn the_longest_of_many_prefixes_is_the_one_that_a_search_finds() {
        seeds::each(300, |rng| {
            let mut active = Active::default();
            let name =
                |rng: &mut fastrand::Rng| -> Vec<u8> { (0..rng.usize(..6)).map(|_| rng.u8(b'a'..b'd')).collect() };
            let prefixes: Vec<Vec<u8>> = (0..rng.usize(..12)).map(|_| name(rng)).collect();
            for prefix in &prefixes {
                active.confirm(b"psubscribe", &[prefix, &b"*"[..]].concat());
            }
            let channel = name(rng);
            let fitting = prefixes.iter().filter(|prefix| channel.starts_with(prefix));
            let longest = fitting.max_by_key(|prefix| prefix.len()).map(|prefix| [prefix, &b"*"[..]].concat());
            assert_eq!(active.longest(&channel), longest.as_deref());
        });
    }

    #[test]
    fn all_that_is_wanted_is_subscribed_to_in_batches() {
        let mut wanted = Wanted::default();
        for number in 0..1200 {
            assert!(wanted.add(&format!("room {number}")));
        }
        assert!(wanted.add_prefix("p") && !wanted.add_prefix("p") && !wanted.add("room 7"));
        assert!(wanted.remove("room 0") && !wanted.remove("room 0"));
        let mut bytes = Vec::new();
        wanted.subscribe_all(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("\r\nSUBSCRIBE").count(), 3);
        assert_eq!(text.matches("room ").count(), 1199);
        assert!(text.ends_with("$10\r\nPSUBSCRIBE\r\n$2\r\np*\r\n"));
    }
}
