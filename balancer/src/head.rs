//! What a request head says about where its connection belongs. No I/O: peeked bytes in, a finding out.

use roomd_wire::SidHome;

/// The most a request head may have, in bytes. What is longer is answered with 431.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The most header lines a head may have.
const MAX_HEADERS: usize = 100;

/// So many first bytes are looked at one by one: other protocols show in their first few.
const CERTAIN_BYTES: usize = 16;

/// What the bytes peeked so far are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// The beginning of a head: wait for more.
    Incomplete,
    /// A whole head; where the session lives that its `sid` names.
    Complete(Option<SidHome>),
    /// No request that a worker could answer.
    Refused(BadHead),
}

/// Why a head is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadHead {
    /// It is not HTTP/1 (TLS, another protocol, garbage).
    NotHttp,
    /// It is longer than [`MAX_HEAD_BYTES`], or has more lines than a worker takes.
    TooLarge,
}

/// As [`examine`], of whose bytes the first `seen` were an incomplete head the last time. Nothing new is certain until a line
/// has ended, so a client that sends byte by byte makes no more work than it has lines.
pub fn examine_more(bytes: &[u8], seen: usize) -> Head {
    let new = bytes.get(seen..).unwrap_or(bytes);
    match seen >= CERTAIN_BYTES && bytes.len() < MAX_HEAD_BYTES && !new.contains(&b'\n') {
        true => Head::Incomplete,
        false => examine(bytes),
    }
}

/// Reads as much as there is of a request head.
pub fn examine(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length > MAX_HEAD_BYTES => Head::Refused(BadHead::TooLarge),
        Ok(httparse::Status::Complete(_)) => Head::Complete(request.path.and_then(home_of_target)),
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD_BYTES => Head::Refused(BadHead::TooLarge),
        Ok(httparse::Status::Partial) => Head::Incomplete,
        Err(httparse::Error::TooManyHeaders) => Head::Refused(BadHead::TooLarge),
        Err(_) => Head::Refused(BadHead::NotHttp),
    }
}

/// The home that the request target's `sid` names. Only the query key `sid` counts; of several the last, as in the official
/// server (`wire.md` 1.1).
fn home_of_target(target: &str) -> Option<SidHome> {
    // The worker's reader of targets ends at a fragment, too, which no client sends.
    let (_, query) = target.split('#').next()?.split_once('?')?;
    let value =
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).rfind(|(key, _)| is_sid(key))?.1;
    match value.contains('%') {
        false => SidHome::of(value.as_bytes()),
        true => SidHome::of(&percent_decoded(value)),
    }
}

fn is_sid(key: &str) -> bool {
    key == "sid" || key.contains('%') && percent_decoded(key) == b"sid"
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let escaped = (byte == b'%').then(|| Some(hex(ahead.next()?)? << 4 | hex(ahead.next()?)?)).flatten();
        decoded.push(escaped.unwrap_or(byte));
        if escaped.is_some() {
            bytes = ahead;
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomd_wire::{Generation, Sid, Slot, WorkerId};

    fn sid(slot: u16) -> (String, SidHome) {
        let home = SidHome { host: 7, worker: WorkerId { slot: Slot(slot), generation: Generation(3) } };
        (Sid::new(home, [0xa5; 15]).to_string(), home)
    }

    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: example\r\n\r\n")
    }

    #[test]
    fn the_sid_is_found_anywhere_in_the_query_and_nowhere_else() {
        let (a, home_a) = sid(1);
        let (b, home_b) = sid(2);
        for (target, home) in [
            (format!("/socket.io/?EIO=4&transport=polling&sid={a}"), Some(home_a)),
            (format!("/socket.io/?sid={a}&EIO=4"), Some(home_a)),
            (format!("/socket.io/?xsid={b}&sid={a}&ysid={b}"), Some(home_a)),
            (format!("/socket.io/?sid={b}&sid={a}"), Some(home_a)),
            (format!("/socket.io/?xsid={a}"), None),
            (format!("/socket.io/?SID={a}"), None),
            (format!("/sid={a}?EIO=4"), None),
            (format!("/socket.io/?sid={a}x"), None),
            (format!("/socket.io/?s%69d={b}"), Some(home_b)),
            (format!("/socket.io/?sid=%{:02x}{}", b.as_bytes()[0], &b[1..]), Some(home_b)),
            (format!("/socket.io/?sid={a}#&sid={b}"), Some(home_a)),
            (format!("/socket.io/#?sid={a}"), None),
            // The last one counts though it has no value.
            (format!("/socket.io/?sid={a}&sid"), None),
            (format!("/socket.io/?sid={a}&sid="), None),
            ("/socket.io/?sid=".into(), None),
            ("/socket.io/?sid".into(), None),
            ("/socket.io/?sid=%".into(), None),
            ("/".into(), None),
        ] {
            assert_eq!(examine(get(&target).as_bytes()), Head::Complete(home), "{target}");
        }
        let in_header = format!("GET / HTTP/1.1\r\nCookie: sid={a}\r\nReferer: http://x/?sid={a}\r\n\r\n");
        assert_eq!(examine(in_header.as_bytes()), Head::Complete(None));
    }

    #[test]
    fn a_head_is_incomplete_until_its_last_byte_and_says_the_same_with_more_behind_it() {
        let (text, home) = sid(1);
        let head = get(&format!("/socket.io/?EIO=4&sid={text}"));
        for cut in 0..head.len() {
            assert_eq!(examine(&head.as_bytes()[..cut]), Head::Incomplete, "{cut}");
            for seen in 0..=cut {
                assert_eq!(examine_more(&head.as_bytes()[..cut], seen), Head::Incomplete, "{seen} of {cut}");
            }
            assert_eq!(examine_more(head.as_bytes(), cut), Head::Complete(Some(home)), "{cut}");
        }
        let pipelined = format!("{head}{}", get("/socket.io/?sid=other"));
        assert_eq!(examine(pipelined.as_bytes()), Head::Complete(Some(home)));
    }

    #[test]
    fn other_methods_and_versions_are_heads_too() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "POST /socket.io/?EIO=4 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\n\n",
        ] {
            assert_eq!(examine(head.as_bytes()), Head::Complete(None), "{head:?}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused_as_soon_as_it_shows() {
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01"[..],
            b"\x00",
            b"GET / HTTP/2.0\r\n",
            b"SSH-2.0-x\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
        ] {
            assert_eq!(examine(bytes), Head::Refused(BadHead::NotHttp), "{bytes:?}");
            for seen in 0..bytes.len() {
                assert_eq!(examine_more(bytes, seen), Head::Refused(BadHead::NotHttp), "{bytes:?} after {seen}");
            }
        }
    }

    #[test]
    fn a_head_without_end_is_too_large() {
        let mut head = b"GET / HTTP/1.1\r\nx: ".to_vec();
        head.resize(MAX_HEAD_BYTES - 1, b'a');
        assert_eq!(examine(&head), Head::Incomplete);
        head.push(b'a');
        assert_eq!(examine(&head), Head::Refused(BadHead::TooLarge));
        assert_eq!(examine_more(&head, MAX_HEAD_BYTES - 1), Head::Refused(BadHead::TooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(examine(many.as_bytes()), Head::Refused(BadHead::TooLarge));
    }

    /// What is decided about a prefix holds, whatever the segments it came in; a refusal may come a segment later.
    #[test]
    fn random_damage_in_random_segments_is_decided_as_the_whole_is() {
        let seed =
            std::env::var("ROOMD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("ROOMD_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let (text, _) = sid(1);
        for round in 0..20_000 {
            let mut bytes = get(&format!("/socket.io/?EIO=4&sid=%41%zz&sid={text}&x=%4")).into_bytes();
            for _ in 0..rng.usize(0..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            let whole = examine(&bytes);
            let (mut seen, mut decided) = (0, Head::Incomplete);
            while seen < bytes.len() && decided == Head::Incomplete {
                let length = (seen + rng.usize(1..40)).min(bytes.len());
                decided = examine_more(&bytes[..length], seen);
                seen = length;
            }
            // Damage can leave the whole without an end; then a refusal is due only with a line's end.
            match decided {
                Head::Incomplete => assert!(!matches!(whole, Head::Complete(_)), "round {round}"),
                decided => assert_eq!(decided, whole, "round {round}"),
            }
        }
    }
}
