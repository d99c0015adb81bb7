//! What the engine and the layer above it say to each other: the engine owns sessions, the layer above their meaning.

use std::{borrow::Cow, rc::Rc};

use bytes::Bytes;
use roomd_wire::{PeerAddress, Sid};

use crate::protocol::{date::js_date, session::CloseReason};

/// Names a session inside one worker; a key of an ended session never names a later one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionKey {
    /// Place in the engine's slab.
    pub index: u32,
    /// Which use of that place.
    pub epoch: u32,
}

/// The request a session began with, kept in one packed block (design D8). Node's `socket.handshake`, but for `auth`, which
/// each namespace has its own of.
///
/// ```
/// # use roomd_worker::engine::Handshake;
/// # fn example(handshake: &Handshake) {
/// let language = handshake.header("Accept-Language").unwrap_or("en");
/// let room = handshake.query("room").unwrap_or_default();
/// println!("{} came at {} for {room} in {language}", handshake.address(), handshake.time());
/// # }
/// ```
pub struct Handshake {
    /// The session's id, which is a secret between client and server: who knows it can act for the client.
    pub sid: Sid,
    /// The client's address, from `X-Forwarded-For` where the peer is a trusted proxy.
    pub peer: PeerAddress,
    /// When it came, in milliseconds since 1970.
    pub(crate) issued_ms: u64,
    /// The request target as sent.
    pub(crate) url: Box<str>,
    /// `name: value` lines as sent, names in lower case, each ended by a line feed.
    pub(crate) headers: Box<str>,
}

/// The layer above the engine. The engine calls it without holding any borrow of its own: every method may call the engine.
/// It is never called from inside a call of the engine: the end of a session is told later in the same turn of the loop.
pub trait SessionHandler {
    /// A session began.
    fn opened(&self, session: SessionKey, handshake: Rc<Handshake>);
    /// A text message came (what follows the `4`).
    fn text(&self, session: SessionKey, data: &str);
    /// A binary message came.
    fn binary(&self, session: SessionKey, data: Bytes);
    /// A session ended; nothing more comes from it, and what is sent to it is dropped.
    fn closed(&self, session: SessionKey, reason: CloseReason);
}

impl Handshake {
    /// The value of a header; the first if it came more than once.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// let language = handshake.header("Accept-Language").unwrap_or("en");
    /// # }
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All headers in the order they came, names in lower case.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// for (name, value) in handshake.headers() {
    ///     println!("{name}: {value}");
    /// }
    /// # }
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.lines().filter_map(|line| line.split_once(": "))
    }

    /// The value of a name in the query, decoded; the last if it came more than once.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// // io("…", { query: { room: "lobby" } })
    /// let room = handshake.query("room").unwrap_or_default();
    /// # }
    /// ```
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().filter_map(|(key, value)| (key == name).then_some(value)).last()
    }

    /// The query's names and values, decoded, in their order; the transport's own (`EIO`, `transport`) among them, as in Node.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// let tags: Vec<_> = handshake.query_pairs().filter(|(name, _)| name == "tag").map(|(_, tag)| tag).collect();
    /// # }
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.raw_query().as_bytes())
    }

    /// The query as sent, without its question mark.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// // Such as `EIO=4&transport=websocket&room=lobby`.
    /// println!("{}", handshake.raw_query());
    /// # }
    /// ```
    pub fn raw_query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// The client's address as text, without a port: from `X-Forwarded-For` where the peer is a trusted proxy. Empty where it came
    /// over a Unix socket and nobody says who it is.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// // Such as `203.0.113.9`.
    /// println!("{}", handshake.address());
    /// # }
    /// ```
    pub fn address(&self) -> String {
        match self.peer {
            PeerAddress::Ip(ip, _) => ip.to_string(),
            PeerAddress::Unix => String::new(),
        }
    }

    /// When it came, in milliseconds since 1970.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let since = UNIX_EPOCH + Duration::from_millis(handshake.issued());
    /// println!("here for {:?}", since.elapsed().unwrap_or_default());
    /// # }
    /// ```
    pub fn issued(&self) -> u64 {
        self.issued_ms
    }

    /// When it came, as JavaScript writes dates, in UTC.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// // Such as `Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)`.
    /// println!("{}", handshake.time());
    /// # }
    /// ```
    pub fn time(&self) -> String {
        js_date(self.issued_ms)
    }

    /// The request target as sent.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// // Such as `/socket.io/?EIO=4&transport=websocket`.
    /// println!("{}", handshake.url());
    /// # }
    /// ```
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether there was an `Origin` header.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// if handshake.xdomain() {
    ///     println!("a page of {:?}", handshake.header("origin"));
    /// }
    /// # }
    /// ```
    pub fn xdomain(&self) -> bool {
        self.header("origin").is_some()
    }

    /// Whether it came over TLS: never, since whatever is in front of roomd ends that. In Node it is so, too, behind a proxy.
    ///
    /// ```
    /// # use roomd_worker::socketio::*;
    /// # fn example(handshake: &Handshake) {
    /// let is_https = handshake.secure() || handshake.header("x-forwarded-proto") == Some("https");
    /// # }
    /// ```
    pub fn secure(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomd_wire::{Generation, SidHome, Slot, WorkerId};

    use super::*;

    #[test]
    fn a_handshake_tells_what_the_client_sent() {
        let worker = WorkerId { slot: Slot(0), generation: Generation(1) };
        let handshake = Handshake {
            sid: Sid::new(SidHome { host: 0, worker }, Default::default()),
            peer: PeerAddress::Ip("::1".parse().unwrap(), 1),
            issued_ms: 1_700_000_000_000,
            url: "/socket.io/?EIO=4&token=a%20b+c&token=%C3%BC&empty".into(),
            headers: "host: example\norigin: http://a\nx-a: 1\nx-a: 2\n".into(),
        };
        assert_eq!(handshake.query("token").unwrap(), "\u{fc}");
        assert_eq!((handshake.query("empty").unwrap(), handshake.query("none")), ("".into(), None));
        assert_eq!(handshake.query_pairs().nth(1).unwrap(), ("token".into(), "a b c".into()));
        assert_eq!((handshake.header("X-A"), handshake.header("none")), (Some("1"), None));
        assert_eq!((handshake.xdomain(), handshake.secure()), (true, false));
        assert_eq!((&*handshake.address(), handshake.issued()), ("::1", 1_700_000_000_000));
        assert!(handshake.time().starts_with("Tue Nov 14 2023 22:13:20 GMT+0000"), "{}", handshake.time());
    }
}
