//! Redis's protocol (RESP 2) as far as pub/sub needs it: commands out, answers in.

use smallvec::SmallVec;

use super::error::RedisError;

/// The longest message that is taken. Node servers publish what their clients send, 1 MB unless raised.
pub const MAX_BULK_BYTES: usize = 64 * 1024 * 1024;

/// The most elements of an answer: the longest that is asked for names all servers of a namespace.
const MAX_ELEMENTS: usize = 65_536;

/// The longest line: errors are the longest there are.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// One answer, or one message to a subscriber.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply<'a> {
    /// A single value.
    One(Item<'a>),
    /// Several.
    Many(SmallVec<[Item<'a>; 4]>),
}

/// A value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Item<'a> {
    /// A status such as `OK`.
    Status(&'a [u8]),
    /// Why a command was refused.
    Error(&'a [u8]),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Nothing.
    Null,
}

/// What the bytes at hand hold.
#[derive(Clone, PartialEq, Debug)]
pub enum Parsed<'a> {
    /// A whole answer and its length.
    Whole(Reply<'a>, usize),
    /// At least so many more bytes are needed.
    Lacks(usize),
}

/// Appends a command.
pub fn command(into: &mut Vec<u8>, parts: &[&[u8]]) {
    header(into, b'*', parts.len());
    for part in parts {
        header(into, b'$', part.len());
        into.extend_from_slice(part);
        into.extend_from_slice(b"\r\n");
    }
}

/// Appends a command with any number of arguments, or nothing if there are none.
pub fn command_for_all<'a>(into: &mut Vec<u8>, name: &'a [u8], arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
    if arguments.len() == 0 {
        return;
    }
    header(into, b'*', 1 + arguments.len());
    for part in std::iter::once(name).chain(arguments) {
        header(into, b'$', part.len());
        into.extend_from_slice(part);
        into.extend_from_slice(b"\r\n");
    }
}

/// The answer at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, RedisError> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.reply() {
        Ok(reply) => Ok(Parsed::Whole(reply, reader.at)),
        Err(Stop::Lacks(lacking)) => Ok(Parsed::Lacks(lacking)),
        Err(Stop::Wrong(what)) => Err(RedisError::Protocol(what)),
    }
}

fn header(into: &mut Vec<u8>, kind: u8, mut number: usize) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.push(kind);
    into.extend_from_slice(&digits[at..]);
    into.extend_from_slice(b"\r\n");
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

enum Stop {
    Lacks(usize),
    Wrong(&'static str),
}

impl<'a> Reader<'a> {
    fn reply(&mut self) -> Result<Reply<'a>, Stop> {
        if self.bytes.first() != Some(&b'*') {
            return Ok(Reply::One(self.item()?));
        }
        self.at = 1;
        let Some(count) = self.length(MAX_ELEMENTS)? else { return Ok(Reply::One(Item::Null)) };
        let mut items = SmallVec::new();
        for _ in 0..count {
            items.push(self.item()?);
        }
        Ok(Reply::Many(items))
    }

    fn item(&mut self) -> Result<Item<'a>, Stop> {
        let kind = *self.bytes.get(self.at).ok_or(Stop::Lacks(1))?;
        self.at += 1;
        match kind {
            b'+' => Ok(Item::Status(self.line()?)),
            b'-' => Ok(Item::Error(self.line()?)),
            b':' => Ok(Item::Number(self.number()?)),
            b'$' => match self.length(MAX_BULK_BYTES)? {
                None => Ok(Item::Null),
                Some(len) => {
                    let have = self.bytes.len() - self.at;
                    if have < len + 2 {
                        return Err(Stop::Lacks(len + 2 - have));
                    }
                    let (value, end) = self.bytes[self.at..self.at + len + 2].split_at(len);
                    self.at += len + 2;
                    if end == b"\r\n" { Ok(Item::Bytes(value)) } else { Err(Stop::Wrong("a value without its end")) }
                }
            },
            _ => Err(Stop::Wrong("an answer of an unknown kind")),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        match rest.windows(2).take(MAX_LINE_BYTES).position(|pair| pair == b"\r\n") {
            Some(len) => {
                self.at += len + 2;
                Ok(&rest[..len])
            }
            None if rest.len() > MAX_LINE_BYTES => Err(Stop::Wrong("a line without end")),
            None => Err(Stop::Lacks(1)),
        }
    }

    fn number(&mut self) -> Result<i64, Stop> {
        let line = self.line()?;
        std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Stop::Wrong("a number that is none"))
    }

    /// A length in bounds; `None` for "no value".
    fn length(&mut self, most: usize) -> Result<Option<usize>, Stop> {
        match self.number()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) if length <= most => Ok(Some(length)),
                Ok(_) => Err(Stop::Wrong("an answer that is too large")),
                Err(_) => Err(Stop::Wrong("a length below zero")),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    #[test]
    fn a_command_has_these_bytes() {
        let mut bytes = Vec::new();
        command(&mut bytes, &[b"PUBLISH", b"a#b", b"\0\r\n"]);
        assert_eq!(bytes, b"*3\r\n$7\r\nPUBLISH\r\n$3\r\na#b\r\n$3\r\n\0\r\n\r\n");
        bytes.clear();
        command_for_all(&mut bytes, b"SUBSCRIBE", [&b"0123456789ab"[..]].into_iter());
        assert_eq!(bytes, b"*2\r\n$9\r\nSUBSCRIBE\r\n$12\r\n0123456789ab\r\n");
        bytes.clear();
        command_for_all(&mut bytes, b"SUBSCRIBE", [].into_iter());
        assert_eq!(bytes, b"");
    }

    #[test]
    fn answers_are_read_whole_and_only_whole() {
        let cases: [(&[u8], Reply<'_>); 7] = [
            (b"+OK\r\n", Reply::One(Item::Status(b"OK"))),
            (b"-ERR no\r\n", Reply::One(Item::Error(b"ERR no"))),
            (b":12\r\n", Reply::One(Item::Number(12))),
            (b"$-1\r\n", Reply::One(Item::Null)),
            (b"$0\r\n\r\n", Reply::One(Item::Bytes(b""))),
            (b"*2\r\n$1\r\nc\r\n:3\r\n", Reply::Many(smallvec![Item::Bytes(b"c"), Item::Number(3)])),
            (
                b"*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$4\r\n\r\n\0*\r\n",
                Reply::Many(smallvec![Item::Bytes(b"message"), Item::Bytes(b"ab"), Item::Bytes(b"\r\n\0*")]),
            ),
        ];
        for (bytes, reply) in cases {
            for cut in 0..bytes.len() {
                match parse(&bytes[..cut]).unwrap() {
                    Parsed::Lacks(lacking) => assert!(lacking > 0 && cut + lacking <= bytes.len(), "{bytes:?} {cut}"),
                    whole => panic!("{bytes:?} at {cut}: {whole:?}"),
                }
            }
            let more = [bytes, b"+more\r\n"].concat();
            match parse(&more).unwrap() {
                Parsed::Whole(parsed, len) => {
                    assert_eq!((format!("{parsed:?}"), len), (format!("{reply:?}"), bytes.len()))
                }
                lacks => panic!("{bytes:?}: {lacks:?}"),
            }
        }
    }

    #[test]
    fn odd_bytes_are_errors_before_memory_is_made_for_them() {
        for bytes in [
            &b"?\r\n"[..],
            b"$99999999999\r\n",
            b"$-2\r\n",
            b"*65537\r\n",
            b":x\r\n",
            b"$1\r\nabc",
            b"*1\r\n*1\r\n+a\r\n",
            b"$100000000000000000000000\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(&[&b"+"[..], &vec![b'a'; MAX_LINE_BYTES + 2]].concat()).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let alphabet = b"*$+-:\r\n0123456789ab";
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..rng.usize(..40)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
            if let Ok(Parsed::Whole(_, len)) = parse(&bytes) {
                assert!(len <= bytes.len(), "seed {seed} {bytes:?}");
            }
        }
    }
}
