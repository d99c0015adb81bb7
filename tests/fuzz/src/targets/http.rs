//! Heads of HTTP requests: the balancer's look at them, and the worker's.

use roomd_balancer::head::{Head, MAX_HEAD_BYTES, examine, examine_more};
use roomd_wire::{Generation, Sid, SidHome, Slot, WorkerId};
use roomd_worker::protocol::admission::{Query, decoded};

/// However a head comes, the finding is the same; and the worker reads the session in it that the balancer has read.
pub fn head(bytes: &[u8]) {
    let finding = examine(bytes);
    let mut seen = 0;
    for end in (0..=bytes.len().min(MAX_HEAD_BYTES)).step_by(3).chain([bytes.len()]) {
        match examine_more(&bytes[..end], seen) {
            Head::Incomplete => seen = end,
            found @ Head::Complete(_) => {
                assert_eq!(found, finding, "in the first {end} bytes");
                return worker_agrees(bytes, found);
            }
            // What comes behind it cannot heal it.
            Head::Refused(_) => {
                return assert!(matches!(finding, Head::Refused(_)), "in the first {end} bytes: {finding:?}");
            }
        }
    }
    // A line that is wrong may have to end before that is told, but what is whole is told at once.
    assert!(!matches!(finding, Head::Complete(_)), "{finding:?}");
}

fn worker_agrees(bytes: &[u8], found: Head) {
    let target = bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    // What hyper makes of it.
    let Ok(target) = http::Uri::try_from(target) else { return };
    let query = decoded(target.query().unwrap_or_default());
    let home = Query::parse(&query).sid.and_then(|sid| SidHome::of(sid.as_bytes()));
    assert_eq!(found, Head::Complete(home), "{target:?}");
}

/// Some heads.
pub fn head_seeds() -> Vec<Vec<u8>> {
    let sid = sid();
    [
        format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("POST /socket.io/?sid=x&EIO=4&xsid={sid}&transport=polling&sid={sid}&t=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n40"),
        format!("GET /socket.io/?EIO=4&transport=websocket&%73id={sid} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        format!("GET http://host/socket.io/?sid={sid} HTTP/1.0\nA: b\n c\n\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
    ]
    .map(String::into_bytes)
    .into()
}

/// What is looked for in a query is what a reader of forms finds, the last of each key.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text_decoded = decoded(text);
    let read = Query::parse(&text_decoded);
    let last = |name: &str| {
        form_urlencoded::parse(bytes).filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).last()
    };
    let plain = |value: Option<String>| value.filter(|value| !value.is_empty() && !value.contains(['=', '\u{fffd}']));
    // An escaped separator is none, and no value that matters has one.
    if !text.contains(['+', ' ']) && !text.contains("%26") && !text.contains("%3") && !text.contains("%2") {
        let read_plain = |value: Option<&str>| plain(value.map(|value| value.replace('\u{fffd}', "=")));
        assert_eq!(read_plain(read.sid), plain(last("sid")), "{text:?}");
        assert_eq!(read_plain(read.transport), plain(last("transport")), "{text:?}");
        assert_eq!(read.revision_4, last("EIO").as_deref() == Some("4"), "{text:?}");
    }
}

/// Some queries.
pub fn query_seeds() -> Vec<Vec<u8>> {
    let sid = sid();
    [
        format!("EIO=4&transport=polling&sid={sid}"),
        format!("t=abc&EIO=3&EIO=4&transport=websocket&xsid=1&sid={sid}&sid=&b64=1"),
        "EIO&transport=&%73id=%41%zz&&==&sid=a=b".into(),
    ]
    .map(String::into_bytes)
    .into()
}

fn sid() -> String {
    let home = SidHome { host: 0, worker: WorkerId { slot: Slot(1), generation: Generation(2) } };
    Sid::new(home, [7; 15]).as_str().to_owned()
}
