//! Where we may differ from the official server, and why.

/// In every conversation: headers of Node's HTTP server, not of Socket.IO, that no client needs.
const HEADERS: [(&str, &str); 2] = [
    ("keep-alive: ", "how long an idle connection is kept is each server's own affair"),
    ("connection: keep-alive", "in HTTP/1.1 it says what holds without it"),
];

/// In one conversation: lines that begin so.
const LINES: [(&str, &[&str], &str); 10] = [
    ("http 1.0", &["0: connection: close"], "without the header a connection ends in HTTP/1.0 all the same"),
    (
        "control character in a header",
        &["0: body", "0: content-"],
        "the balancer answers what is no HTTP, and says in words what is wrong; Node answers without a body",
    ),
    (
        "cross origin: preflight",
        &["0: content-length", "1: content-length", "2: content-length", "3: content-length"],
        NO_LENGTH,
    ),
    (
        "posts: no name",
        &["5: body", "5: content-length"],
        "the official server calls the handlers of all events with none; with us an event without a name has no handler",
    ),
    (
        "posts: ack number too large",
        &["5: body", "5: content-length"],
        "the official server rounds it, and answers under another number; we refuse what we cannot answer",
    ),
    ("posts: numbers as they were written", &["5: body", "5: content-length"], AS_WRITTEN),
    ("posts: spaces in the json", &["5: body", "5: content-length"], AS_WRITTEN),
    ("websocket: version 12", &["0: sec-websocket-version"], "version 8 was a draft; RFC 6455 is 13"),
    (
        "websocket: bytes",
        &["0: 452-", "0: frame"],
        "attachments keep the order in which they came; their placeholders name them",
    ),
    (
        "websocket: close with a code of the application",
        &["0: frame"],
        "the code of a close frame is sent back; its reason, which the client knows, is not",
    ),
];

const NO_LENGTH: &str = "RFC 9110 8.6: an answer 204 must not have a Content-Length";
const AS_WRITTEN: &str = "an application that passes arguments on passes their text on, which is the same JSON value";

/// What a server said in a conversation, without what may differ in every one.
pub fn everywhere(lines: Vec<String>) -> Vec<String> {
    let ignored = |line: &String| HEADERS.iter().any(|(header, _)| said(line).starts_with(header));
    lines.into_iter().filter(|line| !ignored(line)).collect()
}

/// The same without what may differ in this one.
pub fn here(case: &str, lines: &[String]) -> Vec<String> {
    let begins = LINES.iter().filter(|(of, ..)| *of == case).flat_map(|(_, begins, _)| *begins);
    let ignored = |line: &&String| begins.clone().any(|begin| line.starts_with(begin));
    lines.iter().filter(|line| !ignored(line)).cloned().collect()
}

/// Whether a conversation is expected to differ.
pub fn differs(case: &str) -> bool {
    LINES.iter().any(|(of, ..)| *of == case)
}

/// The line without the number of its connection.
fn said(line: &str) -> &str {
    line.split_once(": ").map_or("", |(_, said)| said)
}
