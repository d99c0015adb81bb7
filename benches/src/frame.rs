//! As much of WebSocket framing as counting messages takes; shares no code with what it measures.

/// A masked client text frame. The mask is zero: legal, and it costs this side nothing.
pub fn client_text(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Cuts a byte stream into frames and keeps the first bytes of each payload.
#[derive(Default)]
pub struct FrameCounter {
    header: [u8; 14],
    have: usize,
    left: u64,
    opcode: u8,
    compressed: bool,
    start: [u8; 2],
    start_have: usize,
}

/// A frame that ended: its opcode and the first two bytes of its payload (zero where it is shorter).
pub struct Seen {
    /// The opcode of the frame's header.
    pub opcode: u8,
    /// Whether its payload is compressed.
    pub compressed: bool,
    /// How its payload begins.
    pub start: [u8; 2],
}

impl FrameCounter {
    /// Takes bytes as they come, calls back for each frame that ended in them.
    pub fn feed(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Seen)) {
        loop {
            if self.left > 0 {
                let take = bytes.len().min(self.left as usize);
                for &byte in &bytes[..take.min(2 - self.start_have)] {
                    self.start[self.start_have] = byte;
                    self.start_have += 1;
                }
                self.left -= take as u64;
                bytes = &bytes[take..];
                if self.left > 0 {
                    return;
                }
                seen(Seen { opcode: self.opcode, compressed: self.compressed, start: self.start });
                self.have = 0;
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            self.header[self.have] = byte;
            self.have += 1;
            bytes = rest;
            if let Some(length) = self.payload_length() {
                self.opcode = self.header[0] & 15;
                self.compressed = self.header[0] & 0x40 != 0;
                self.start = [0; 2];
                self.start_have = 0;
                self.left = length;
                if length == 0 {
                    seen(Seen { opcode: self.opcode, compressed: self.compressed, start: [0; 2] });
                    self.have = 0;
                }
            }
        }
    }

    fn payload_length(&self) -> Option<u64> {
        let mask = if self.have >= 2 && self.header[1] & 0x80 != 0 { 4 } else { 0 };
        let (end, length) = match (self.have, self.header[1] & 0x7f) {
            (0 | 1, _) => return None,
            (_, 126) => (4, u64::from(u16::from_be_bytes([self.header[2], self.header[3]]))),
            (_, 127) => (10, u64::from_be_bytes(self.header[2..10].try_into().expect("eight bytes"))),
            (_, length) => (2, u64::from(length)),
        };
        (self.have == end + mask).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        for length in [0, 1, 2, 125, 126, 70_000] {
            stream.extend(client_text(&"4".repeat(length)));
        }
        for step in [1, 3, 1000, stream.len()] {
            let (mut counter, mut frames) = (FrameCounter::default(), 0);
            for piece in stream.chunks(step) {
                counter.feed(piece, |seen| {
                    assert_eq!(seen.opcode, 1);
                    frames += 1;
                });
            }
            assert_eq!(frames, 6, "step {step}");
        }
    }
}
