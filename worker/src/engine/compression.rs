//! Compression of what polls are answered with, as the official server does it: gzip or deflate, as the client likes best.

use std::{
    cell::{Cell, RefCell},
    io::Write,
};

use bytes::Bytes;
use flate2::{
    Compression as Level,
    write::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

/// From here on the least level is used: all of a worker's clients wait meanwhile.
const LARGE: usize = 128 * 1024;
/// The largest payload that is kept, compressed, for the next who gets the same.
const MOST_KEPT: usize = 256 * 1024;

/// How a body is coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Gzip,
    /// In zlib's format, as HTTP means by that name.
    Deflate,
}

/// Compresses payloads. A broadcast comes to its clients in one turn, and so is compressed once for all who like the same coding.
#[derive(Default)]
pub(super) struct Compressor {
    last: [RefCell<Option<Last>>; 2],
    /// How often it had to be done.
    done: Cell<u64>,
}

struct Last {
    payload: Bytes,
    compressed: Bytes,
}

impl Coding {
    /// What a client likes best of the two, as the `accepts` package reads it.
    pub(super) fn of(request: &HeaderMap) -> Option<Coding> {
        // Node joins lines of this header.
        let lines = request.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
        let entries: Vec<Entry<'_>> = lines.flat_map(|line| line.split(',')).filter_map(Entry::parse).collect();
        let best =
            |name| entries.iter().enumerate().filter_map(|(order, entry)| entry.rank(name, order)).reduce(prefer);
        let (gzip, deflate) = (best("gzip"), best("deflate"));
        let wanted = |rank: Option<Rank>| rank.filter(|rank| rank.quality > 0.0);
        match (wanted(gzip), wanted(deflate)) {
            (Some(gzip), Some(deflate)) => {
                let by_quality = gzip.quality.partial_cmp(&deflate.quality).unwrap_or(std::cmp::Ordering::Equal);
                let better = by_quality.then(gzip.named.cmp(&deflate.named)).then(deflate.order.cmp(&gzip.order));
                Some(if better.is_lt() { Coding::Deflate } else { Coding::Gzip })
            }
            (Some(_), None) => Some(Coding::Gzip),
            (None, Some(_)) => Some(Coding::Deflate),
            (None, None) => None,
        }
    }

    /// The value of `Content-Encoding`.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        })
    }
}

/// One of the codings that a client names.
struct Entry<'a> {
    name: &'a str,
    quality: f32,
}

/// How much a client likes a coding.
#[derive(Clone, Copy)]
struct Rank {
    /// By its name, and not by `*`.
    named: bool,
    quality: f32,
    /// Its place among the others.
    order: usize,
}

/// Of two entries about one coding, that which counts: by its name before `*`, then the one that likes it more, then the later.
fn prefer(one: Rank, other: Rank) -> Rank {
    let key = |rank: Rank| (rank.named, rank.quality, rank.order);
    if key(one) > key(other) { one } else { other }
}

impl<'a> Entry<'a> {
    fn parse(text: &'a str) -> Option<Entry<'a>> {
        let mut parts = text.split(';');
        let name = parts.next()?.trim();
        let quality = parts.find_map(|part| part.trim().strip_prefix("q="));
        // What is no number is no quality.
        let quality = quality.map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0));
        (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(Entry { name, quality })
    }

    fn rank(&self, name: &str, order: usize) -> Option<Rank> {
        let named = self.name.eq_ignore_ascii_case(name);
        (named || self.name == "*").then_some(Rank { named, quality: self.quality, order })
    }
}

impl Compressor {
    /// A payload in this coding.
    pub(super) fn compress(&self, coding: Coding, payload: &Bytes) -> Bytes {
        let last = &self.last[coding as usize];
        if let Some(last) = last.borrow().as_ref().filter(|last| last.payload == *payload) {
            return last.compressed.clone();
        }
        self.done.set(self.done.get() + 1);
        let compressed = compress(coding, payload);
        if payload.len() <= MOST_KEPT {
            *last.borrow_mut() = Some(Last { payload: payload.clone(), compressed: compressed.clone() });
        }
        compressed
    }
}

/// Bytes in this coding.
pub(super) fn compress(coding: Coding, bytes: &[u8]) -> Bytes {
    let level = if bytes.len() < LARGE { Level::default() } else { Level::fast() };
    let into = Vec::with_capacity(bytes.len() / 4);
    let compressed = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(into, level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(into, level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
    };
    // Writing into a Vec does not fail.
    compressed.unwrap_or_default().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Answers of the `accepts` package.
    #[test]
    fn a_coding_is_chosen_as_by_the_official_server() {
        for (header, expected) in [
            ("", None),
            ("gzip", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("deflate, gzip", Some(Coding::Deflate)),
            ("br", None),
            ("*", Some(Coding::Gzip)),
            ("identity", None),
            ("gzip;q=0", None),
            ("gzip;q=0.5, deflate", Some(Coding::Deflate)),
            ("gzip;q=0.5, *", Some(Coding::Deflate)),
            ("gzip;q=0, *;q=0.1", Some(Coding::Deflate)),
            ("GZIP ; q=0.1", Some(Coding::Gzip)),
            ("gzip;q=x", None),
            ("*;q=0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(Coding::of(&headers), expected, "{header}");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), None);
    }

    #[test]
    fn the_same_payload_is_compressed_once_for_all_who_get_it() {
        let compressor = Compressor::default();
        let payload = |text: &str| Bytes::from(text.repeat(1000));
        for _ in 0..100 {
            let gzip = compressor.compress(Coding::Gzip, &payload("a"));
            let mut plain = String::new();
            flate2::read::GzDecoder::new(&*gzip).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, "a".repeat(1000));
            let deflate = compressor.compress(Coding::Deflate, &payload("a"));
            plain.clear();
            flate2::read::ZlibDecoder::new(&*deflate).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, "a".repeat(1000));
        }
        assert_eq!(compressor.done.get(), 2);
        assert_ne!(compressor.compress(Coding::Gzip, &payload("b")), compressor.compress(Coding::Gzip, &payload("a")));
        assert_eq!(compressor.done.get(), 4);
    }
}
