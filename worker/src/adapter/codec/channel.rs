//! Names of channels.

/// The channels of one namespace, as the official adapter names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    broadcast: String,
    request: String,
    response: String,
    own_response: String,
}

/// What a message is, by the channel it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A broadcast to a room, or to none in particular. A receiver without a member of the room need not read it.
    Broadcast {
        /// The room in the channel's name.
        room: Option<&'a str>,
    },
    /// A request.
    Request,
    /// A response, to all or to us.
    Response,
}

impl Channels {
    /// Channels of the namespace `nsp` (with its slash). `prefix` is the adapter's option `key`, by default
    /// `socket.io`; `uid` names this server, see [`random_id`].
    pub fn new(prefix: &str, nsp: &str, uid: &str) -> Self {
        let response = format!("{prefix}-response#{nsp}#");
        Self {
            broadcast: format!("{prefix}#{nsp}#"),
            request: format!("{prefix}-request#{nsp}#"),
            own_response: format!("{response}{uid}#"),
            response,
        }
    }

    /// Where broadcasts to the whole namespace, or to several rooms, go. The channel of each room begins with it, so it is
    /// also the prefix to subscribe to.
    pub fn broadcast(&self) -> &str {
        &self.broadcast
    }

    /// Where broadcasts to this room alone go.
    pub fn room(&self, room: &str) -> String {
        format!("{}{room}#", self.broadcast)
    }

    /// Where requests go. Its subscribers are the servers that a request's sender expects answers from.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Where responses go.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Where responses for this server alone go, from servers with the option `publishOnSpecificResponseChannel`.
    pub fn own_response(&self) -> &str {
        &self.own_response
    }

    /// What a message on `channel` is; `None` for other namespaces.
    pub fn classify<'a>(&self, channel: &'a str) -> Option<Incoming<'a>> {
        if channel.starts_with(&self.response) {
            return Some(Incoming::Response);
        }
        if channel.starts_with(&self.request) {
            return Some(Incoming::Request);
        }
        let rest = channel.strip_prefix(&self.broadcast)?;
        // The official adapter takes the last character off without looking at it.
        let mut characters = rest.chars();
        characters.next_back();
        Some(Incoming::Broadcast { room: Some(characters.as_str()).filter(|room| !room.is_empty()) })
    }
}

/// The name of the namespace that a channel belongs to: what is between the first two `#`.
pub fn namespace_of<'a>(prefix: &str, channel: &'a str) -> Option<&'a str> {
    let (kind, rest) = channel.strip_prefix(prefix)?.split_once('#')?;
    let (name, _) = rest.split_once('#')?;
    matches!(kind, "" | "-request" | "-response").then_some(name)
}

/// A new uid or request id: six random characters, as the official adapter makes them.
pub fn random_id(rng: &mut fastrand::Rng) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..6).map(|_| char::from(CHARACTERS[rng.usize(..64)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_the_official_names() {
        let channels = Channels::new("socket.io", "/", "JVHqlk");
        assert_eq!(channels.broadcast(), "socket.io#/#");
        assert_eq!(channels.request(), "socket.io-request#/#");
        assert_eq!(channels.response(), "socket.io-response#/#");
        assert_eq!(channels.own_response(), "socket.io-response#/#JVHqlk#");
        assert_eq!(channels.room("r1"), "socket.io#/#r1#");
    }

    #[test]
    fn a_channel_tells_its_namespace() {
        for (channel, name) in [
            ("socket.io#/#", Some("/")),
            ("socket.io#/chat#a#b#", Some("/chat")),
            ("socket.io-request#/chat#", Some("/chat")),
            ("socket.io-response#/chat#uid#", Some("/chat")),
            ("socket.io-other#/chat#", None),
            ("socket.io#/chat", None),
            ("roomd-health#1#2#", None),
            ("", None),
        ] {
            assert_eq!(namespace_of("socket.io", channel), name, "{channel}");
        }
    }

    #[test]
    fn a_channel_tells_what_its_message_is() {
        let channels = Channels::new("myapp", "/chat", "uid");
        let broadcast = |room| Some(Incoming::Broadcast { room });
        for (channel, incoming) in [
            ("myapp#/chat#", broadcast(None)),
            ("myapp#/chat#r1#", broadcast(Some("r1"))),
            ("myapp#/chat#a#b#", broadcast(Some("a#b"))),
            ("myapp#/chat#é", broadcast(None)),
            ("myapp#/#", None),
            ("myapp#/chatter#", None),
            ("socket.io#/chat#", None),
            ("myapp-request#/chat#", Some(Incoming::Request)),
            ("myapp-response#/chat#", Some(Incoming::Response)),
            ("myapp-response#/chat#uid#", Some(Incoming::Response)),
            ("myapp-response#/#", None),
            ("", None),
        ] {
            assert_eq!(channels.classify(channel), incoming, "{channel}");
        }
    }
}
