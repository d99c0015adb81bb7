//! Where we may differ from the official server, and why.

/// In every conversation: headers of the HTTP server, not of Socket.IO.
const HEADERS: [(&str, &str); 3] = [
    ("keep-alive: ", "how long an idle connection is kept is each server's own affair"),
    ("connection: keep-alive", "in HTTP/1.1 it says what holds without it"),
    ("vary: Accept-Encoding", "with client files: a cache in between must not give one client another's coding"),
];

/// Lines that begin so, in some conversations.
struct Allowed {
    lines: &'static [&'static str],
    conversations: &'static [&'static str],
    reason: &'static str,
}

const ALLOWED: &[Allowed] = &[
    // HTTP.
    Allowed {
        lines: &["0: connection: close"],
        conversations: &["http 1.0"],
        reason: "without the header a connection ends in HTTP/1.0 all the same",
    },
    Allowed {
        lines: &["0: content-length", "1: content-length", "2: content-length", "3: content-length"],
        conversations: &["cross origin: preflight", "client files: preflight"],
        reason: "RFC 9110 8.6: an answer 204 must not have a Content-Length",
    },
    Allowed {
        lines: &["0: body", "0: content-"],
        conversations: &[
            "control character in a header",
            "odd: folded header",
            "odd: header without a colon",
            "odd: space in front of a colon",
            "odd: head that is too large",
            "odd: http 1.2",
            "odd: no http",
        ],
        reason: "the balancer answers what is no HTTP, and says in words what is wrong; Node answers without a body",
    },
    Allowed {
        lines: &["3: date", "3: content-length", "3: transfer-encoding", "7: date", "7: transfer-encoding"],
        conversations: &[
            "odd: chunked twice",
            "odd: chunks, and coded otherwise after that",
            "odd: body that breaks off",
            "odd: chunk without a length",
            "odd: second chunk without a length",
            "odd: chunk that is too long",
            "odd: two lengths",
            "odd: length that is no number",
            "odd: length below zero",
            "odd: length of 2 to the 64th",
        ],
        reason: "Node's parser answers 400 with a bare line; ours says when, and that there is no body",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: target with a scheme"],
        reason: "RFC 9112 3.2.2: a server must accept the absolute form; Node looks for its path at the beginning",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: target beyond ascii"],
        reason: "browsers of old send such queries; nothing in them that matters here is ambiguous",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: bare line feeds"],
        reason: "RFC 9112 2.2 lets a server take them; balancer and worker do, so they agree on where a head ends",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: target with quotes"],
        reason: "RFC 3986 2: quotes and angle brackets must be escaped, and browsers do so",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: many headers"],
        reason: "no client sends more than 100; Node drops those beyond 2000",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: two spaces"],
        reason: "RFC 9112 3: one space; to read a request line as somebody meant it is how requests are smuggled",
    },
    Allowed {
        lines: &["3: ", "4: "],
        conversations: &["odd: poll, and a post behind it", "odd: post, and another behind it"],
        reason: "requests of one connection are served one after the other; Node begins with the next at once, and so \
                 takes two posts for overlapping ones, which end the session. Browsers wait for the answer",
    },
    Allowed {
        lines: &["3: "],
        conversations: &["odd: chunks in http 1.0"],
        reason: "RFC 9112 6.1: HTTP/1.0 has no chunks, and what a proxy of that age makes of them is anybody's guess",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: http 2.0", "odd: no version"],
        reason: "neither is HTTP/1; Node answers in HTTP/1.1 to what has not said that it speaks it",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: unknown method", "odd: method in small letters"],
        reason: "Node's parser knows a list of methods; with us an unknown one is told what any other but GET is told",
    },
    Allowed {
        lines: &["0: "],
        conversations: &[
            "odd: upgrade to h2c",
            "odd: websocket with two upgrades",
            "odd: websocket as one of several upgrades",
        ],
        reason: "RFC 9110 7.8: of the protocols in Upgrade a server takes the one it knows, and may ignore them all",
    },
    Allowed {
        lines: &["0: "],
        conversations: &["odd: expectation without a body"],
        reason: "RFC 9110 10.1.1: there is nothing to go on with where no body is announced",
    },
    Allowed {
        lines: &["3: "],
        conversations: &[
            "odd: expectation of a body that is too large",
            "odd: length too large, and nothing behind it",
        ],
        reason: "a length says enough; Node waits for the first byte too many",
    },
    Allowed {
        lines: &["3: ", "4: ", "5: "],
        conversations: &["odd: length of 2 to the 64th less one"],
        reason: "hyper keeps the two largest numbers for itself and answers 431; Node waits for that many bytes",
    },
    Allowed {
        lines: &["3: ", "7: "],
        conversations: &["odd: length and chunks"],
        reason: "RFC 9112 6.3: the chunks count, and the connection ends behind the answer, so that nothing is smuggled",
    },
    Allowed {
        lines: &["3: ", "4: "],
        conversations: &["odd: length twice"],
        reason: "RFC 9110 8.6: the same length twice may be taken as one",
    },
    Allowed {
        lines: &["3: ", "4: ", "5: "],
        conversations: &["odd: unknown coding"],
        reason: "refused with the head, so the session never hears of it; Node reads the head as a request first",
    },
    Allowed {
        lines: &["0: content-encoding", "0: body"],
        conversations: &["client files: br alone"],
        reason: "browsers name gzip before br, and so get gzip from both servers; for others it is not worth a library",
    },
    // Engine.IO and Socket.IO.
    Allowed {
        lines: &["0: body", "0: content-length"],
        conversations: &["odd: jsonp"],
        reason: "no client of this revision can do it, and a script from elsewhere would be let in past CORS",
    },
    Allowed {
        lines: &["5: body", "5: content-length"],
        conversations: &["posts: no name"],
        reason: "the official server calls the handlers of all events with none; with us an event without a name has no handler",
    },
    Allowed {
        lines: &["5: body", "5: content-length"],
        conversations: &["posts: ack number too large"],
        reason: "the official server rounds it, and answers under another number; we refuse what we cannot answer",
    },
    Allowed {
        lines: &["5: body", "5: content-length"],
        conversations: &["posts: numbers as they were written", "posts: spaces in the json"],
        reason: "an application that passes arguments on passes their text on, which is the same JSON value",
    },
    Allowed {
        lines: &["5: body", "5: content-length"],
        conversations: &[
            "odd: placeholder of half a number",
            "odd: placeholder with a fraction of zero",
            "odd: placeholder with an exponent",
            "odd: placeholder of minus zero",
        ],
        reason: "an attachment's number has digits only; the official server makes null of what is no whole one",
    },
    Allowed {
        lines: &["2: body", "2: content-length", "3: "],
        conversations: &["odd: connect and event in one post"],
        reason: ONE_BY_ONE,
    },
    Allowed {
        lines: &["5: body", "5: content-length"],
        conversations: &[
            "odd: event, and bad json",
            "odd: event, bad json, and an event",
            "odd: event, and an unknown socket packet",
            "odd: events around a disconnect",
        ],
        reason: ONE_BY_ONE,
    },
    // WebSocket.
    Allowed {
        lines: &["0: sec-websocket-version"],
        conversations: &["websocket: version 12", "odd: websocket with two versions"],
        reason: VERSION_8,
    },
    Allowed { lines: &["0: "], conversations: &["odd: websocket with version 8"], reason: VERSION_8 },
    Allowed {
        lines: &["0: 452-", "0: frame"],
        conversations: &["websocket: bytes"],
        reason: "attachments keep the order in which they came; their placeholders name them",
    },
    Allowed {
        lines: &["0: frame"],
        conversations: &["websocket: close with a code of the application"],
        reason: "the code of a close frame is sent back; its reason, which the client knows, is not",
    },
];

const VERSION_8: &str = "version 8 was a draft; RFC 6455 is 13";
const ONE_BY_ONE: &str = "we handle packets one after the other; the official server calls handlers after the last of a \
    payload, so that a packet is lost to a later one, and what it does depends on how they were batched";

/// What a server said in a conversation, without what may differ in every one.
pub fn everywhere(lines: Vec<String>) -> Vec<String> {
    let ignored = |line: &String| HEADERS.iter().any(|(header, _)| said(line).starts_with(header));
    lines.into_iter().filter(|line| !ignored(line)).collect()
}

/// The same without what may differ in this one.
pub fn here(case: &str, lines: &[String]) -> Vec<String> {
    let begins = of(case).flat_map(|allowed| allowed.lines);
    let ignored = |line: &&String| begins.clone().any(|begin| line.starts_with(begin));
    lines.iter().filter(|line| !ignored(line)).cloned().collect()
}

/// Why a conversation is expected to differ, if it is.
pub fn reason(case: &str) -> Option<&'static str> {
    of(case).next().map(|allowed| allowed.reason)
}

fn of(case: &str) -> impl Iterator<Item = &'static Allowed> + Clone {
    ALLOWED.iter().filter(move |allowed| allowed.conversations.contains(&case))
}

/// Of a connection in a generated conversation: a plain request to a session on WebSocket is refused by us. The official server
/// never answers it, and keeps the connection.
pub fn is_left_unanswered(official: &[String], ours: &[String]) -> bool {
    matches!(official, [open] if said(open) == "open")
        && ours.last().is_some_and(|open| said(open) == "open")
        && ours.first().is_some_and(|status| said(status) == "status 400")
        // A HEAD has no body.
        && ours.iter().any(|line| said(line) == "body " || line.ends_with("\"message\":\"Bad request\"}"))
}

/// Of a client in a generated conversation that goes on polling when its session has moved to WebSocket, as none does: our
/// server ends the pending poll with nothing and refuses the next one, the official one ends it with `1`, which is to a client the
/// end of the session. Whether this is the body of such a refusal.
pub fn is_taken_over(body: &[u8]) -> bool {
    body == b"{\"code\":3,\"message\":\"Bad request\"}"
}

/// Of a packet that was drawn: an event without a name is heard by those who listen to all events in the official server alone (see
/// the list), and a blank is the digit 0 to it: a packet's type, or among those of an acknowledgement's number, where it answers under
/// `NaN`. The number of attachments is in any form that JavaScript knows.
pub fn is_read_otherwise(packet: &[u8]) -> bool {
    if let [b'4', kind, ..] = packet
        && kind.is_ascii_whitespace()
    {
        return true;
    }
    let Some(([b'4', kind @ (b'2' | b'3' | b'5' | b'6')], mut rest)) = packet.split_first_chunk() else { return false };
    let behind = |end: u8, bytes: &[u8]| bytes.iter().position(|byte| *byte == end).map_or(bytes.len(), |at| at + 1);
    if matches!(kind, b'5' | b'6') {
        let count;
        (count, rest) = rest.split_at(behind(b'-', rest));
        if !count.strip_suffix(b"-").unwrap_or(count).iter().all(u8::is_ascii_digit) {
            return true;
        }
    }
    if rest.starts_with(b"/") {
        rest = &rest[behind(b',', rest)..];
    }
    let number = rest.iter().take_while(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace()).count();
    let has_blanks = !rest[..number].iter().all(u8::is_ascii_digit);
    has_blanks || (matches!(kind, b'2' | b'5') && number == rest.len())
}

#[test]
fn what_is_read_otherwise_is_told_from_the_rest() {
    for packet in [
        "42",
        "42/x",
        "42/x,1",
        "4212",
        "42 [\"a\"]",
        "4231 3[\"a\"]",
        "43/x,1 [1]",
        "451-1\t[\"a\"]",
        "451-",
        "4 ",
        "463 -",
        "451e0-[\"a\"]",
    ] {
        assert!(is_read_otherwise(packet.as_bytes()), "{packet:?}");
    }
    for packet in ["", "4", "41", "43", "42[\"a\"]", "42/x,7[\"a b\"]", "40{ }", "42{", "451-[\"a\"]", "2"] {
        assert!(!is_read_otherwise(packet.as_bytes()), "{packet:?}");
    }
}

/// The line without the number of its connection.
fn said(line: &str) -> &str {
    line.split_once(": ").map_or("", |(_, said)| said)
}
