//! How a broadcast travels between roomd's own workers: with its frames ready-made (design D6, D13).
//!
//! Node servers never see it: it goes over the embedded bus only. Its first byte is one that neither MessagePack nor JSON
//! begins with, so that it is told from the official adapter's messages, which may come on the same channel.
//!
//! ```text
//! c1 │ version │ slot u16 │ generation u32 │ sequence u64 │ flags u8 │ rooms u16, each u16 + text │ except, likewise │ frames
//! ```
//!
//! Numbers are big endian. `{slot, generation, sequence}` names a broadcast: one that comes twice is delivered once.

use bytes::Bytes;
use roomd_wire::{Generation, Slot, WorkerId};
use smallvec::SmallVec;

use crate::protocol::{Encoded, Parser};

/// The one byte that MessagePack never uses.
const MARK: u8 = 0xc1;
const VERSION: u8 = 1;
const VOLATILE: u8 = 1;
const UNCOMPRESSED: u8 = 2;
const HEAD_BYTES: usize = 17;

/// Names of rooms, borrowed.
pub type Names<'a> = SmallVec<[&'a str; 4]>;

/// A broadcast of another worker of this host.
#[derive(Debug, PartialEq)]
pub struct Envelope<'a> {
    /// Who sent it.
    pub origin: WorkerId,
    /// The sender's number for it; later ones are larger.
    pub sequence: u64,
    /// May be dropped for a client that cannot take it now.
    pub volatile: bool,
    /// The rooms it is for; all sockets where there is none.
    pub rooms: Names<'a>,
    /// The rooms it is not for.
    pub except: Names<'a>,
    /// What clients get.
    pub packet: Encoded,
}

/// Bytes that are no envelope of a version spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("read an envelope")]
pub struct NotAnEnvelope;

/// Whether a message is an envelope at all.
pub fn is_envelope(message: &[u8]) -> bool {
    message.first() == Some(&MARK)
}

/// Writes an envelope. `None` where it has more rooms, or a longer name, than fits: then the official form serves.
pub fn encode(
    origin: WorkerId,
    sequence: u64,
    volatile: bool,
    rooms: &[&str],
    except: &[&str],
    packet: &Encoded,
) -> Option<Vec<u8>> {
    let names: usize = rooms.iter().chain(except).map(|name| name.len() + 2).sum();
    let mut message = Vec::with_capacity(HEAD_BYTES + 4 + names + packet.len());
    message.extend([MARK, VERSION]);
    message.extend(origin.slot.0.to_be_bytes());
    message.extend(origin.generation.0.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.push(if volatile { VOLATILE } else { 0 } | if packet.may_compress() { 0 } else { UNCOMPRESSED });
    for list in [rooms, except] {
        message.extend(u16::try_from(list.len()).ok()?.to_be_bytes());
        for name in list {
            message.extend(u16::try_from(name.len()).ok()?.to_be_bytes());
            message.extend(name.as_bytes());
        }
    }
    message.extend_from_slice(packet.wire());
    Some(message)
}

/// Reads an envelope with a packet for this parser. The packet shares the message's memory.
pub fn decode(message: &Bytes, parser: Parser) -> Result<Envelope<'_>, NotAnEnvelope> {
    let (head, rest) = message.split_first_chunk::<HEAD_BYTES>().ok_or(NotAnEnvelope)?;
    let [MARK, VERSION, s0, s1, g0, g1, g2, g3, sequence @ .., flags] = *head else { return Err(NotAnEnvelope) };
    let (rooms, rest) = read_names(rest).ok_or(NotAnEnvelope)?;
    let (except, rest) = read_names(rest).ok_or(NotAnEnvelope)?;
    let packet = Encoded::from_wire(message.slice_ref(rest), parser)
        .map_err(|_| NotAnEnvelope)?
        .compress(flags & UNCOMPRESSED == 0);
    Ok(Envelope {
        origin: WorkerId {
            slot: Slot(u16::from_be_bytes([s0, s1])),
            generation: Generation(u32::from_be_bytes([g0, g1, g2, g3])),
        },
        sequence: u64::from_be_bytes(sequence),
        volatile: flags & VOLATILE != 0,
        rooms,
        except,
        packet,
    })
}

fn read_names(bytes: &[u8]) -> Option<(Names<'_>, &[u8])> {
    let (count, mut rest) = read_u16(bytes)?;
    let mut names = Names::new();
    for _ in 0..count {
        let (length, after) = read_u16(rest)?;
        let (name, after) = after.split_at_checked(usize::from(length))?;
        names.push(std::str::from_utf8(name).ok()?);
        rest = after;
    }
    Some((names, rest))
}

fn read_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::Data;

    fn origin() -> WorkerId {
        WorkerId { slot: Slot(3), generation: Generation(70_000) }
    }

    fn packet() -> Encoded {
        Encoded::event("/", None, &Data::event("message", "hello").unwrap())
    }

    #[test]
    fn an_envelope_reads_as_it_was_written() {
        let cases = [(&[][..], &[][..], true), (&["a"], &[], false), (&["a", "é", ""], &["b"], true)];
        for (rooms, except, compress) in cases {
            let packet = packet().compress(compress);
            let message = Bytes::from(encode(origin(), u64::MAX, true, rooms, except, &packet).unwrap());
            assert!(is_envelope(&message));
            let read = decode(&message, Parser::Json).unwrap();
            assert_eq!((read.origin, read.sequence, read.volatile), (origin(), u64::MAX, true));
            assert_eq!((&read.rooms[..], &read.except[..]), (rooms, except));
            assert_eq!(read.packet, packet);
        }
    }

    #[test]
    fn what_is_damaged_is_refused_or_read_but_never_panics() {
        let message = encode(origin(), 1, false, &["room"], &["except"], &packet()).unwrap();
        for end in 0..message.len() {
            assert_eq!(decode(&Bytes::copy_from_slice(&message[..end]), Parser::Json), Err(NotAnEnvelope), "{end}");
        }
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut damaged = message.clone();
            let at = rng.usize(..damaged.len());
            damaged[at] = rng.u8(..);
            let _ = std::hint::black_box(decode(&damaged.into(), Parser::Json));
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_left_to_the_official_form() {
        assert_eq!(encode(origin(), 1, false, &["x".repeat(70_000).as_str()], &[], &packet()), None);
    }
}
