//! Compresses messages to clients, each once for all its recipients.

use flate2::{Compress, Compression, FlushCompress};
use rustc_hash::FxHashMap;

use super::{TAIL, Window};
use crate::protocol::{Encoded, queue::Item};

/// The smallest window that is used. A deflater stays some 260 bytes away from its window's end, so that this one's output suits a
/// client with half of it.
const SMALLEST_BITS: u8 = 9;
/// So much of its buffer is kept between messages; few are larger.
const KEPT_BYTES: usize = 64 * 1024;
/// So many places for what was compressed are kept.
const KEPT_PLACES: usize = 64;

/// Address and length of frames, and for which window.
type Place = (usize, usize, Window);

/// Compresses what goes out in one turn of a worker's loop. What is sent to many clients is compressed for the first of them that
/// agreed on it, and shared by the others.
#[derive(Debug)]
pub struct Deflater {
    /// Messages shorter than this are left as they are.
    threshold: usize,
    level: Compression,
    /// One for each window that a client has asked for.
    streams: Vec<(Window, Compress)>,
    /// What was looked at in this turn, by the place of the frames in memory, and what came of it. The frames are held, so that no
    /// others can have the same place.
    made: FxHashMap<Place, (Encoded, Option<Encoded>)>,
    /// A compressed payload before its head.
    output: Vec<u8>,
}

impl Deflater {
    /// `threshold`: the shortest message in bytes that is compressed. `level`: from 1 for fast to 9 for small.
    pub fn new(threshold: usize, level: u8) -> Self {
        Deflater {
            threshold,
            level: Compression::new(level.into()),
            streams: Vec::new(),
            made: FxHashMap::default(),
            output: Vec::new(),
        }
    }

    /// The same packets with every message compressed that gains by it; `None` where none does.
    pub fn deflate(&mut self, item: &Item, window: Window) -> Option<Encoded> {
        let packets = item.packets();
        if packets.len() <= self.threshold || !packets.may_compress() {
            return None;
        }
        // Nobody else will ask for it.
        if !item.is_shared() {
            return self.frames(packets, window);
        }
        let key = (packets.wire().as_ptr() as usize, packets.len(), window);
        if let Some((_, made)) = self.made.get(&key) {
            return made.clone();
        }
        let made = self.frames(packets, window);
        self.made.insert(key, (packets.clone(), made.clone()));
        made
    }

    /// The turn is over: forgets what it has made.
    pub fn end_turn(&mut self) {
        self.made.clear();
        self.made.shrink_to(KEPT_PLACES);
        if self.output.len() > KEPT_BYTES {
            self.output = Vec::new();
        }
    }

    fn frames(&mut self, packets: &Encoded, window: Window) -> Option<Encoded> {
        // Made when there is something to write into it.
        let mut frames: Option<Vec<u8>> = None;
        let mut begin = 0;
        for part in packets.parts() {
            let end = part.payload.as_ptr() as usize - packets.wire().as_ptr() as usize + part.payload.len();
            let whole = &packets.wire()[begin..end];
            let compressed =
                if part.payload.len() >= self.threshold { self.payload(part.payload, window) } else { None };
            match (compressed, &mut frames) {
                (Some(payload), frames) => {
                    let frames = frames.get_or_insert_with(|| packets.wire()[..begin].to_vec());
                    Encoded::push_compressed(frames, part.binary, payload);
                }
                (None, Some(frames)) => frames.extend_from_slice(whole),
                (None, None) => {}
            }
            begin = end;
        }
        frames.map(|frames| Encoded::joined(frames, true))
    }

    /// A compressed payload, if it is shorter.
    fn payload(&mut self, payload: &[u8], window: Window) -> Option<&[u8]> {
        if self.output.len() < payload.len() {
            self.output.resize(payload.len(), 0);
        }
        let at = match self.streams.iter().position(|(known, _)| *known == window) {
            Some(at) => at,
            None => {
                let bits = window.bits().max(SMALLEST_BITS);
                self.streams.push((window, Compress::new_with_window_bits(self.level, false, bits)));
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[at].1;
        stream.reset();
        let output = &mut self.output[..payload.len()];
        stream.compress(payload, output, FlushCompress::Sync).ok()?;
        let length = stream.total_out() as usize;
        // All of it is there only if there was room for more.
        let whole = stream.total_in() as usize == payload.len() && length < output.len();
        self.output[..length].strip_suffix(TAIL).filter(|_| whole)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;
    use crate::protocol::{PacketType, batch::Batch, deflate::offer::Agreement};

    fn window(bits: u8) -> Window {
        Agreement::on(format!("permessage-deflate; server_max_window_bits={bits}").as_bytes()).unwrap().unwrap().window
    }

    /// Text that compresses well.
    fn text(rng: &mut fastrand::Rng, len: usize) -> String {
        let mut text = String::from("42");
        while text.len() < len {
            text.push_str(&format!("{{\"user\":{},\"text\":\"hello\"}}", rng.u16(..)));
        }
        text.truncate(len);
        text
    }

    /// What a client reads: whether each message was compressed, whether it is binary, and its bytes.
    fn read(mut wire: &[u8], bits: u8) -> Vec<(bool, bool, Vec<u8>)> {
        let mut messages = Vec::new();
        while let [first, short, rest @ ..] = wire {
            let (len, rest) = match short {
                127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
                126 => (u16::from_be_bytes(rest[..2].try_into().unwrap()) as usize, &rest[2..]),
                len => (usize::from(*len), rest),
            };
            let (payload, rest) = rest.split_at(len);
            wire = rest;
            let compressed = first & 0x40 != 0;
            let message = if compressed { inflate(payload, bits) } else { payload.to_vec() };
            messages.push((compressed, first & 0x0f == 2, message));
        }
        messages
    }

    fn inflate(payload: &[u8], bits: u8) -> Vec<u8> {
        let mut message = Vec::new();
        let mut stream = Decompress::new_with_window_bits(false, bits.max(9));
        let input = [payload, TAIL].concat();
        loop {
            // A little at a time, else what was written before serves as a window of any size.
            let (mut output, before) = ([0; 64], stream.total_out() as usize);
            let rest = &input[stream.total_in() as usize..];
            stream.decompress(rest, &mut output, FlushDecompress::Sync).unwrap();
            let length = stream.total_out() as usize - before;
            message.extend_from_slice(&output[..length]);
            if length < output.len() {
                break;
            }
        }
        assert_eq!(stream.total_in() as usize, input.len());
        message
    }

    fn expected(packets: &Encoded) -> Vec<(bool, Vec<u8>)> {
        packets.parts().map(|part| (part.binary, part.payload.to_vec())).collect()
    }

    #[test]
    fn the_client_reads_what_was_sent_whatever_its_window() {
        for seed in 0..60 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut deflater = Deflater::new(rng.usize(..2000), rng.u8(1..=9));
            for _ in 0..4 {
                let bits = rng.u8(8..=15);
                let batch = Batch::new(&Encoded::engine("42first"));
                for _ in 0..rng.usize(..6) {
                    let len = rng.usize(2..8000);
                    let noise: Vec<u8> = (0..rng.usize(..4000)).map(|_| rng.u8(..)).collect();
                    let attachments = [noise.into(), text(&mut rng, len).into()];
                    let json = text(&mut rng, len);
                    batch.append(&Encoded::packet(PacketType::Event, "/", None, Some(&json), &attachments));
                }
                let packets = batch.seal().clone();
                let sent = deflater.deflate(&Item::Batch(batch.clone()), window(bits)).unwrap_or(packets.clone());
                let got: Vec<_> =
                    read(sent.wire(), bits).into_iter().map(|(_, binary, bytes)| (binary, bytes)).collect();
                assert_eq!(got, expected(&packets), "seed {seed}");
                assert!(sent.len() <= packets.len());
            }
        }
    }

    #[test]
    fn each_message_is_compressed_by_itself_where_it_gains() {
        let mut rng = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = (0..2000).map(|_| rng.u8(..)).collect();
        let (json, attachment) = (text(&mut rng, 1022), text(&mut rng, 1024));
        let packets = [noise.into(), "x".repeat(1023).into(), attachment.into()];
        let packet = Encoded::packet(PacketType::Event, "/", None, Some(&json), &packets);
        let sent = Deflater::new(1024, 6).deflate(&packet.clone().into(), Window::MAX).unwrap();
        let compressed: Vec<_> = read(sent.wire(), 15).into_iter().map(|(compressed, ..)| compressed).collect();
        // The text has a digit more; noise does not gain; what is shorter than the threshold is left.
        assert_eq!(compressed, [true, false, false, true]);
    }

    #[test]
    fn what_gains_nothing_or_may_not_be_compressed_is_left_as_it_is() {
        let mut deflater = Deflater::new(100, 6);
        let long = "4".repeat(1000);
        for packet in [Encoded::engine(&"4".repeat(99)), Encoded::engine(&long).compress(false), Encoded::ping()] {
            assert_eq!(deflater.deflate(&packet.into(), Window::MAX), None);
        }
        assert!(deflater.streams.is_empty(), "nothing was to be compressed yet");
        assert!(deflater.deflate(&Encoded::engine(&long).into(), Window::MAX).is_some());
    }

    #[test]
    fn what_many_get_is_compressed_once_for_each_window() {
        let mut deflater = Deflater::new(100, 6);
        let packet = Encoded::engine(&"4".repeat(1000));
        let mut made = |item: Item, window| deflater.deflate(&item, window).unwrap().wire().as_ptr();
        let first = made(packet.clone().into(), Window::MAX);
        assert_eq!(made(packet.clone().into(), Window::MAX), first);
        assert_ne!(made(packet.clone().into(), window(9)), first);
        let batch = Batch::new(&packet);
        batch.append(&packet);
        let first = made(Item::Batch(batch.clone()), Window::MAX);
        // Also for the last one, who holds it alone.
        assert_eq!(made(Item::Batch(batch), Window::MAX), first);
        assert_eq!(deflater.made.len(), 3);
        deflater.end_turn();
        assert!(deflater.made.is_empty());
        deflater.deflate(&Encoded::engine(&"5".repeat(1000)).into(), Window::MAX);
        assert!(deflater.made.is_empty(), "one recipient's message is not remembered");
    }
}
