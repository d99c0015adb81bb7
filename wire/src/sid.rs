//! The Engine.IO session id: it names its home, so that the balancer needs no table (design D2).
//!
//! 24 bytes in base64url without padding, 32 characters: format version (1 byte), host (2), slot (2), generation of birth (4),
//! all big endian, then 15 random bytes, which are what keeps the id secret.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::message::{Generation, Slot, WorkerId};

const VERSION: u8 = 1;
const RANDOM_BYTES: usize = 15;
const BYTES: usize = 9 + RANDOM_BYTES;

/// A session id in its text form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; Sid::LEN]);

/// Where a session was born.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SidHome {
    /// The host.
    pub host: u16,
    /// The worker on that host.
    pub worker: WorkerId,
}

impl Sid {
    /// Length of the text form in bytes.
    pub const LEN: usize = BYTES / 3 * 4;

    /// A new id. `random` must come from the operating system's generator: whoever can guess an id can take over its session.
    pub fn new(home: SidHome, random: [u8; RANDOM_BYTES]) -> Sid {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..3].copy_from_slice(&home.host.to_be_bytes());
        bytes[3..5].copy_from_slice(&home.worker.slot.0.to_be_bytes());
        bytes[5..9].copy_from_slice(&home.worker.generation.0.to_be_bytes());
        bytes[9..].copy_from_slice(&random);
        let mut text = [0; Sid::LEN];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).expect("24 bytes make 32 characters");
        Sid(text)
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }

    /// Takes a client's text for an id if it has the form of one; whether such a session lives is not said.
    pub fn parse(text: &[u8]) -> Option<Sid> {
        let text: [u8; Sid::LEN] = text.try_into().ok()?;
        decode(&text)?;
        Some(Sid(text))
    }

    /// Where the session was born.
    pub fn home(&self) -> SidHome {
        decode(&self.0).expect("checked when it was made")
    }
}

impl SidHome {
    /// Reads the home out of a client's text; `None` if it is no session id of ours.
    pub fn of(text: &[u8]) -> Option<SidHome> {
        decode(text.try_into().ok()?)
    }
}

fn decode(text: &[u8; Sid::LEN]) -> Option<SidHome> {
    let mut bytes = [0; BYTES];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let [VERSION, h0, h1, s0, s1, g0, g1, g2, g3, ..] = bytes else { return None };
    (length == BYTES).then_some(SidHome {
        host: u16::from_be_bytes([h0, h1]),
        worker: WorkerId {
            slot: Slot(u16::from_be_bytes([s0, s1])),
            generation: Generation(u32::from_be_bytes([g0, g1, g2, g3])),
        },
    })
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sid {
    /// Only where it belongs to: an id in a log would let its reader take over the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({})", self.home().worker)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn home(host: u16, slot: u16, generation: u32) -> SidHome {
        SidHome { host, worker: WorkerId { slot: Slot(slot), generation: Generation(generation) } }
    }

    #[test]
    fn an_id_names_the_home_it_was_made_with() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let home = home(rng.u16(..), rng.u16(..), rng.u32(..));
            let sid = Sid::new(home, std::array::from_fn(|_| rng.u8(..)));
            assert_eq!(sid.home(), home);
            assert_eq!(SidHome::of(sid.as_str().as_bytes()), Some(home));
            assert!(sid.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
    }

    #[test]
    fn what_is_not_an_id_of_ours_has_no_home() {
        let good = Sid::new(home(1, 2, 3), [9; 15]);
        let mut other_version = *good.as_str().as_bytes().first_chunk::<32>().unwrap();
        other_version[0] = b'_';
        for text in [
            &b""[..],
            b"QIMCEcGoPbN4k0iaAAAA",
            &other_version,
            &[b'!'; 32],
            &good.as_str().as_bytes()[..31],
            &[0xff; 32],
        ] {
            assert_eq!(SidHome::of(text), None);
            assert!(Sid::parse(text).is_none());
        }
    }

    #[test]
    fn debug_output_does_not_reveal_the_secret_part() {
        let sid = Sid::new(home(1, 2, 3), [9; 15]);
        assert_eq!(format!("{sid:?}"), "Sid(2.3)");
    }
}
