//! Decompresses messages of clients, one after another: one for all clients of a worker.

use flate2::{Decompress, FlushDecompress, Status};
use thiserror::Error;

use super::TAIL;

/// So much of its buffer is kept between messages; few are larger.
const KEPT_BYTES: usize = 64 * 1024;
/// The least to begin with.
const FIRST_BYTES: usize = 4 * 1024;

/// Why a message could not be decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum InflateError {
    /// It is not what deflate produces.
    #[error("decompress a message")]
    Corrupt,
    /// It is larger than the limit when it is decompressed.
    #[error("accept a message larger than the limit when decompressed")]
    TooLarge,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Inflater {
    /// Made for the first message.
    stream: Option<Decompress>,
    /// Zeros, or what earlier messages have left.
    output: Vec<u8>,
}

impl Inflater {
    /// Decompresses a message, which may then have `max` bytes. As in the official server, one that ends in the middle is as long as
    /// it goes, and what follows a final block is not looked at.
    ///
    /// # Errors
    /// Where it is no compressed message, or larger: memory is never spent on more than `max`.
    pub fn inflate(&mut self, message: &[u8], max: usize) -> Result<&[u8], InflateError> {
        if self.output.len() > KEPT_BYTES {
            self.output = Vec::new();
        }
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        let mut length = 0;
        for input in [message, TAIL] {
            if run(stream, input, &mut self.output, &mut length, max)? == Status::StreamEnd {
                break;
            }
        }
        Ok(&self.output[..length])
    }
}

/// Decompresses a piece to behind the first `length` bytes of `output`.
fn run(
    stream: &mut Decompress,
    mut input: &[u8],
    output: &mut Vec<u8>,
    length: &mut usize,
    max: usize,
) -> Result<Status, InflateError> {
    loop {
        if *length == output.len() {
            // One byte more than it may have is what shows that it has more.
            let larger = (2 * output.len()).max(FIRST_BYTES).min(max.saturating_add(1));
            output.resize(larger, 0);
        }
        let (read, written) = (stream.total_in(), stream.total_out());
        let status = stream
            .decompress(input, &mut output[*length..], FlushDecompress::Sync)
            .map_err(|_corrupt| InflateError::Corrupt)?;
        input = &input[(stream.total_in() - read) as usize..];
        *length += (stream.total_out() - written) as usize;
        if *length > max {
            return Err(InflateError::TooLarge);
        }
        if status == Status::StreamEnd || *length < output.len() {
            return Ok(status);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// Compresses as a client does.
    fn deflated(message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() + 1000);
        Compress::new(Compression::best(), false).compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.strip_suffix(TAIL).unwrap().to_vec()
    }

    #[test]
    fn the_examples_of_the_specification_say_hello() {
        let mut inflater = Inflater::default();
        for message in [
            // RFC 7692, 7.2.3.1, 7.2.3.3 to 7.2.3.5
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflater.inflate(message, 5), Ok(&b"Hello"[..]), "{message:x?}");
        }
        // 7.2.3.6: an empty message.
        assert_eq!(inflater.inflate(&[0], 5), Ok(&b""[..]));
        assert_eq!(inflater.inflate(&[], 5), Ok(&b""[..]));
        // 7.2.3.2: it refers to the message before, which was agreed not to be looked back at.
        assert_eq!(inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], 5), Err(InflateError::Corrupt));
    }

    #[test]
    fn what_is_not_deflate_is_refused_and_the_next_message_is_read() {
        let mut inflater = Inflater::default();
        for message in [&[0x06][..], &[0xff; 20], b"hello"] {
            assert_eq!(inflater.inflate(message, 1000), Err(InflateError::Corrupt), "{message:x?}");
            assert_eq!(inflater.inflate(&deflated(b"sound"), 1000), Ok(&b"sound"[..]));
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = deflated(&vec![0; 10_000_000]);
        assert!(bomb.len() < 15_000);
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&bomb, 1_000_000), Err(InflateError::TooLarge));
        assert!(inflater.output.capacity() <= 1_100_000, "{}", inflater.output.capacity());
        assert_eq!(inflater.inflate(&[0], 1_000_000), Ok(&b""[..]));
        assert_eq!(inflater.output.capacity(), FIRST_BYTES, "a large buffer is not kept");
    }

    #[test]
    fn exactly_the_limit_passes() {
        let mut inflater = Inflater::default();
        for size in [1, FIRST_BYTES - 1, FIRST_BYTES, FIRST_BYTES + 1, 2 * FIRST_BYTES, 100_000] {
            let (message, packed) = (vec![7; size], deflated(&vec![7; size]));
            assert_eq!(inflater.inflate(&packed, size), Ok(&message[..]));
            assert_eq!(inflater.inflate(&packed, size - 1), Err(InflateError::TooLarge), "{size}");
        }
    }

    #[test]
    fn random_bytes_never_panic_and_random_messages_come_through() {
        let mut inflater = Inflater::default();
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let letters = rng.u8(1..=255);
            let message: Vec<u8> = (0..rng.usize(..20_000)).map(|_| rng.u8(..letters)).collect();
            let mut packed = deflated(&message);
            assert_eq!(inflater.inflate(&packed, 20_000), Ok(&message[..]), "seed {seed}");
            for _ in 0..3 {
                let at = rng.usize(..packed.len());
                packed[at] = rng.u8(..);
            }
            let _ = inflater.inflate(&packed, 20_000);
        }
    }
}
