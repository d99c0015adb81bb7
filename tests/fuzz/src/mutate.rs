//! Makes odd bytes of sound ones. Knows nothing of formats but a few pieces that many have.

use fastrand::Rng;

/// What the readers at hand look for.
const PIECES: [&[u8]; 24] = [
    b"\x1e",
    b"42",
    b"451-",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\"",
    b"\\u00",
    b"\\ud800",
    b"/nsp,",
    b"-",
    b"1e999",
    b"b",
    b"\r\n",
    b"{\"_placeholder\":true,\"num\":0}",
    b"\xc1",
    b"\xff\xff\xff\xff",
    b"\0",
    b"\xdb\xff\xff\xff\xff",
    b"$-1\r\n",
    b"sid=",
    b"\xc3",
];

/// Draws bytes.
pub struct Mutator {
    rng: Rng,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    /// From these bytes, the same ones each time for one seed.
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Mutator {
        Mutator { rng: Rng::with_seed(seed), seeds }
    }

    /// The next ones.
    pub fn draw(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let mut bytes = rng.choice(&self.seeds).cloned().unwrap_or_default();
        // Several in a row are what streams are made of, and what a splice needs.
        while rng.u8(..4) == 0 {
            let other = rng.choice(&self.seeds).cloned().unwrap_or_default();
            let (from, at) = (rng.usize(..=other.len()), rng.usize(..=bytes.len()));
            let at = if rng.bool() { bytes.len() } else { at };
            let from = if rng.bool() { 0 } else { from };
            bytes.splice(at..at, other[from..].iter().copied());
        }
        for _ in 0..rng.u8(..6) {
            change(rng, &mut bytes);
        }
        bytes
    }
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(..=bytes.len());
    let end = bytes.len().min(at + rng.usize(..16));
    match rng.u8(..9) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            let to = rng.usize(..=bytes.len());
            bytes.splice(to..to, piece);
        }
        2 => {
            let piece = *rng.choice(&PIECES).unwrap();
            bytes.splice(at..at, piece.iter().copied());
        }
        3 => bytes.truncate(at),
        4 => bytes.insert(at, rng.u8(..)),
        // One level deeper, many times.
        5 if rng.u8(..8) == 0 => {
            let piece = bytes[at..end].to_vec();
            let piece = piece.repeat(rng.usize(1..200));
            bytes.splice(at..at, piece);
        }
        6 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        7 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(rng.u8(..3)).wrapping_sub(1),
        _ if at < bytes.len() => bytes[at] = *rng.choice(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b' ', b'"']).unwrap(),
        _ => bytes.push(rng.u8(..)),
    }
}
