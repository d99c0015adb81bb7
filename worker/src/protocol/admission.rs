//! Which requests the Engine.IO server lets in, and what it answers to the others. The order of the checks is engine.io's.

use std::borrow::Cow;

use roomd_wire::Transports;

use super::session::Transport;

/// What the query of a request says. Of repeated keys the last counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Query<'a> {
    /// `EIO` is exactly `4`. Every other value, and none, means an older revision.
    pub revision_4: bool,
    /// `transport`.
    pub transport: Option<&'a str>,
    /// `sid`.
    pub sid: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The transport is missing or unknown.
    UnknownTransport,
    /// No such session lives.
    UnknownSession,
    /// Sessions begin with a GET.
    BadMethod,
    /// The request does not fit its session, or asks for a WebSocket without an upgrade.
    BadRequest(Misfit),
    /// Only revision 4 is spoken. The last thing to be looked at of a request for a session.
    UnsupportedVersion,
}

/// What is bad about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// It is for another transport than its session's.
    Transport {
        /// The session's.
        previous: Transport,
    },
    /// It is of another revision than its session.
    Protocol,
    /// It begins a session on WebSocket, and is none.
    Handshake,
}

/// What an admitted request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted<K> {
    /// Begin a session on this transport.
    Open(Transport),
    /// A request of a polling session.
    Polling(K),
    /// A WebSocket for a session: to upgrade it, or too many.
    Upgrade(K),
    /// A WebSocket that names the transport polling: opened, and closed at once.
    Pointless,
}

/// What a request is, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The method is GET.
    pub is_get: bool,
    /// It asks for a WebSocket.
    pub upgrade: bool,
    /// Its query.
    pub query: Query<'a>,
}

/// The query part of a request target with its escapes read, for [`Query::parse`].
pub fn decoded(query: &str) -> Cow<'_, str> {
    if !query.contains('%') {
        return query.into();
    }
    let mut text = String::with_capacity(query.len());
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        // An escaped separator does not separate; and nothing that is looked for has one in it.
        let plain = |part: &str| part.replace(['&', '='], "\u{fffd}");
        text.extend([&plain(&key), "=", &plain(&value), "&"]);
    }
    text.into()
}

impl<'a> Query<'a> {
    /// Reads the query part of a request target, without its question mark and escapes.
    pub fn parse(query: &'a str) -> Query<'a> {
        let mut parsed = Query::default();
        for pair in query.split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("EIO", value) => parsed.revision_4 = value == "4",
                ("transport", value) => parsed.transport = Some(value),
                ("sid", value) => parsed.sid = Some(value).filter(|sid| !sid.is_empty()),
                _ => {}
            }
        }
        parsed
    }
}

impl Refusal {
    /// Engine.IO's number for it.
    pub fn code(self) -> u8 {
        match self {
            Refusal::UnknownTransport => 0,
            Refusal::UnknownSession => 1,
            Refusal::BadMethod => 2,
            Refusal::BadRequest(_) => 3,
            Refusal::UnsupportedVersion => 5,
        }
    }

    /// Engine.IO's words for it.
    pub fn message(self) -> &'static str {
        match self {
            Refusal::UnknownTransport => "Transport unknown",
            Refusal::UnknownSession => "Session ID unknown",
            Refusal::BadMethod => "Bad handshake method",
            Refusal::BadRequest(_) => "Bad request",
            Refusal::UnsupportedVersion => "Unsupported protocol version",
        }
    }
}

/// The transport that a request names.
///
/// # Errors
/// Where it names none that is served.
pub fn transport(query: &Query<'_>, served: Transports) -> Result<Transport, Refusal> {
    match query.transport {
        Some("polling") if served.polling => Ok(Transport::Polling),
        Some("websocket") if served.websocket => Ok(Transport::WebSocket),
        _ => Err(Refusal::UnknownTransport),
    }
}

/// Decides on a request to a server of these transports; `find` looks a session up.
///
/// # Errors
/// With the answer to a request that is not let in.
pub fn admit<K>(
    request: &Request<'_>,
    served: Transports,
    find: impl FnOnce(&str) -> Option<(K, Transport)>,
) -> Result<Admitted<K>, Refusal> {
    let query = &request.query;
    let transport = transport(query, served)?;
    let Some(sid) = query.sid else {
        return match (request.is_get, request.upgrade, transport) {
            (false, ..) => Err(Refusal::BadMethod),
            (true, false, Transport::WebSocket) => Err(Refusal::BadRequest(Misfit::Handshake)),
            _ if !query.revision_4 => Err(Refusal::UnsupportedVersion),
            (true, true, Transport::Polling) => Ok(Admitted::Pointless),
            (true, ..) => Ok(Admitted::Open(transport)),
        };
    };
    let (key, current) = find(sid).ok_or(Refusal::UnknownSession)?;
    let mismatch = Err(Refusal::BadRequest(Misfit::Transport { previous: current }));
    if !request.upgrade && transport != current {
        return mismatch;
    }
    if !query.revision_4 {
        return Err(Refusal::BadRequest(Misfit::Protocol));
    }
    Ok(match (request.upgrade, transport) {
        (true, Transport::Polling) => Admitted::Pointless,
        (true, Transport::WebSocket) => Admitted::Upgrade(key),
        // A session on WebSocket has no plain requests.
        (false, Transport::WebSocket) => return mismatch,
        (false, Transport::Polling) => Admitted::Polling(key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(sid: &str) -> Option<(char, Transport)> {
        match sid {
            "p" => Some(('p', Transport::Polling)),
            "w" => Some(('w', Transport::WebSocket)),
            _ => None,
        }
    }

    #[test]
    fn requests_are_decided_on_as_engine_io_does() {
        use Refusal::{BadMethod, BadRequest, UnknownSession, UnknownTransport, UnsupportedVersion};
        use Transport::{Polling, WebSocket};
        const HANDSHAKE: Refusal = BadRequest(Misfit::Handshake);
        const PROTOCOL: Refusal = BadRequest(Misfit::Protocol);
        let misfit = |previous| Err(BadRequest(Misfit::Transport { previous }));
        const GET: (bool, bool) = (true, false);
        const POST: (bool, bool) = (false, false);
        const UPGRADE: (bool, bool) = (true, true);
        for ((is_get, upgrade), query, expected) in [
            (GET, "EIO=4&transport=polling", Ok(Admitted::Open(Transport::Polling))),
            (UPGRADE, "EIO=4&transport=websocket", Ok(Admitted::Open(Transport::WebSocket))),
            (GET, "EIO=3&EIO=4&transport=x&transport=polling", Ok(Admitted::Open(Transport::Polling))),
            (GET, "EIO=4&transport=polling&sid=", Ok(Admitted::Open(Transport::Polling))),
            (GET, "EIO=4", Err(UnknownTransport)),
            (GET, "EIO=4&transport=foo&sid=p", Err(UnknownTransport)),
            (GET, "EIO=4&transport=webtransport", Err(UnknownTransport)),
            (UPGRADE, "EIO=4&transport=foo", Err(UnknownTransport)),
            (GET, "EIO=4&transport=polling&sid=abc", Err(UnknownSession)),
            (UPGRADE, "EIO=3&transport=websocket&sid=abc", Err(UnknownSession)),
            (POST, "EIO=4&transport=polling", Err(BadMethod)),
            (POST, "EIO=3&transport=websocket", Err(BadMethod)),
            (GET, "EIO=4&transport=websocket", Err(HANDSHAKE)),
            (GET, "EIO=3&transport=websocket", Err(HANDSHAKE)),
            (GET, "EIO=3&transport=polling", Err(UnsupportedVersion)),
            (GET, "EIO=5&transport=polling", Err(UnsupportedVersion)),
            (GET, "transport=polling", Err(UnsupportedVersion)),
            (GET, "EIO=4&EIO=3&transport=polling", Err(UnsupportedVersion)),
            (UPGRADE, "EIO=3&transport=websocket", Err(UnsupportedVersion)),
            (UPGRADE, "EIO=4&transport=polling", Ok(Admitted::Pointless)),
            (GET, "EIO=4&transport=polling&sid=p", Ok(Admitted::Polling('p'))),
            (POST, "EIO=4&transport=polling&t=1&sid=p", Ok(Admitted::Polling('p'))),
            (POST, "EIO=4&transport=polling&xsid=w&sid=p&sidx=w", Ok(Admitted::Polling('p'))),
            (GET, "EIO=4&transport=websocket&sid=p", misfit(Polling)),
            (GET, "EIO=4&transport=polling&sid=w", misfit(WebSocket)),
            (GET, "EIO=4&transport=websocket&sid=w", misfit(WebSocket)),
            (GET, "EIO=3&transport=polling&sid=p", Err(PROTOCOL)),
            (UPGRADE, "EIO=3&transport=websocket&sid=p", Err(PROTOCOL)),
            (UPGRADE, "EIO=4&transport=websocket&sid=p", Ok(Admitted::Upgrade('p'))),
            (UPGRADE, "EIO=4&transport=websocket&sid=w", Ok(Admitted::Upgrade('w'))),
            (UPGRADE, "EIO=4&transport=polling&sid=p", Ok(Admitted::Pointless)),
            (POST, "EIO=%34&transport=%70olling&s%69d=%70", Ok(Admitted::Polling('p'))),
            (GET, "EIO=4&transport=polling&x=%26sid=p", Ok(Admitted::Open(Transport::Polling))),
            (GET, "EIO=4&transport=polling&sid=%ff", Err(UnknownSession)),
        ] {
            let query = decoded(query);
            let request = Request { is_get, upgrade, query: Query::parse(&query) };
            assert_eq!(
                admit(&request, Transports::default(), find),
                expected,
                "get {is_get} upgrade {upgrade} {query}"
            );
        }
    }

    #[test]
    fn a_transport_that_is_not_served_is_unknown() {
        let asked = |query: &'static str, served| {
            let request = Request { is_get: true, upgrade: false, query: Query::parse(query) };
            admit(&request, served, find)
        };
        let polling = Transports { polling: true, websocket: false };
        let websocket = Transports { polling: false, websocket: true };
        assert_eq!(asked("EIO=4&transport=polling", websocket), Err(Refusal::UnknownTransport));
        assert_eq!(asked("EIO=4&transport=websocket&sid=p", polling), Err(Refusal::UnknownTransport));
        assert_eq!(asked("EIO=4&transport=polling&sid=p", polling), Ok(Admitted::Polling('p')));
        assert_eq!(asked("EIO=4&transport=websocket", websocket), Err(Refusal::BadRequest(Misfit::Handshake)));
    }
}
