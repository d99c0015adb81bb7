//! What clients offer in `Sec-WebSocket-Extensions`. Read as strictly as the `ws` package does, on which the official server stands:
//! what is malformed fails the handshake, whatever extension it is about.

use thiserror::Error;

const NAME: &[u8] = b"permessage-deflate";
const SERVER_NO_CONTEXT: &[u8] = b"server_no_context_takeover";
const CLIENT_NO_CONTEXT: &[u8] = b"client_no_context_takeover";
const SERVER_WINDOW: &[u8] = b"server_max_window_bits";
const CLIENT_WINDOW: &[u8] = b"client_max_window_bits";

/// The logarithm of how far back a compressed message may refer, 8 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Window(u8);

/// What is agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// What the client can look back at, and so what is sent to it must keep to.
    pub window: Window,
    /// The value of the answer's header.
    pub answer: String,
}

/// The header is malformed, or an offer of permessage-deflate is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("read the WebSocket extensions that the client offers")]
pub struct BadOffer;

/// A parameter: its name and its value, if it has one.
type Parameter<'a> = (&'a [u8], Option<Vec<u8>>);

impl Window {
    /// The largest, which is what a client has that names none.
    pub const MAX: Window = Window(15);

    fn parse(value: &[u8]) -> Option<Window> {
        js_integer(value).filter(|bits| (8..=15).contains(bits)).map(Window)
    }

    /// Its logarithm.
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl Agreement {
    /// Reads the header's lines, joined by commas. `None`: permessage-deflate is not among the offers. Of several the first is
    /// taken, since there is none that cannot be met.
    ///
    /// # Errors
    /// Where the official server refuses the handshake.
    pub fn on(header: &[u8]) -> Result<Option<Agreement>, BadOffer> {
        let mut agreement = None;
        for offer in Scanner::new(header).offers()? {
            if offer.name == NAME {
                // The others must be sound all the same.
                let sound = accept(&offer.parameters)?;
                agreement.get_or_insert(sound);
            }
        }
        Ok(agreement)
    }
}

/// The answer to an offer: its own parameters in their order, and that no context is taken over.
fn accept(parameters: &[Parameter<'_>]) -> Result<Agreement, BadOffer> {
    let (mut window, mut answer) = (Window::MAX, String::from("permessage-deflate"));
    let mut agreed = [(SERVER_NO_CONTEXT, false), (CLIENT_NO_CONTEXT, false)];
    for (at, (name, value)) in parameters.iter().enumerate() {
        if parameters[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(BadOffer);
        }
        match (*name, value) {
            (SERVER_NO_CONTEXT | CLIENT_NO_CONTEXT, None) => {
                agreed.iter_mut().filter(|(known, _)| known == name).for_each(|(_, agreed)| *agreed = true);
                push(&mut answer, name, None);
            }
            (SERVER_WINDOW, Some(bits)) => {
                window = Window::parse(bits).ok_or(BadOffer)?;
                push(&mut answer, name, Some(window));
            }
            // What it sends can be read whatever it keeps to.
            (CLIENT_WINDOW, Some(bits)) => push(&mut answer, name, Some(Window::parse(bits).ok_or(BadOffer)?)),
            (CLIENT_WINDOW, None) => {}
            _ => return Err(BadOffer),
        }
    }
    agreed.iter().filter(|(_, agreed)| !agreed).for_each(|(name, _)| push(&mut answer, name, None));
    Ok(Agreement { window, answer })
}

fn push(answer: &mut String, name: &[u8], window: Option<Window>) {
    answer.push_str("; ");
    answer.extend(name.iter().copied().map(char::from));
    if let Some(Window(bits)) = window {
        answer.push('=');
        answer.push_str(&bits.to_string());
    }
}

/// A small whole number in any form in which JavaScript's `Number` reads it, as the official server does: `10`, `1e1`, `0xa`.
fn js_integer(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    let radix = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)]
        .iter()
        .find_map(|(prefix, radix)| text.strip_prefix(prefix).map(|digits| (digits, *radix)));
    match radix {
        Some((digits, _)) if digits.starts_with('+') => None,
        Some((digits, radix)) => u8::from_str_radix(digits, radix).ok(),
        None => text.parse::<f64>().ok().filter(|number| number.fract() == 0.0 && *number < 256.0).map(|n| n as u8),
    }
}

/// One extension that a client offers.
struct Offer<'a> {
    name: &'a [u8],
    parameters: Vec<Parameter<'a>>,
}

/// Goes through the header.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn new(header: &'a [u8]) -> Self {
        Scanner { rest: header }
    }

    /// `name; parameter; parameter=value; parameter="value", name …`
    fn offers(&mut self) -> Result<Vec<Offer<'a>>, BadOffer> {
        let mut offers = Vec::new();
        loop {
            if !offers.is_empty() {
                self.skip_blanks();
            }
            let mut offer = Offer { name: self.token()?, parameters: Vec::new() };
            let mut end = self.end()?;
            while end == End::Parameter {
                self.skip_blanks();
                let name = self.token()?;
                let value = match self.eat(b'=') {
                    true => Some(self.value()?),
                    false => None,
                };
                offer.parameters.push((name, value));
                end = self.end()?;
            }
            offers.push(offer);
            if end == End::Header {
                return Ok(offers);
            }
        }
    }

    /// What comes behind a name or a value; blanks may come before it, but not before the header's end.
    fn end(&mut self) -> Result<End, BadOffer> {
        let blanks = self.skip_blanks();
        match self.rest.split_first() {
            None if !blanks => Ok(End::Header),
            Some((b';', rest)) => {
                self.rest = rest;
                Ok(End::Parameter)
            }
            Some((b',', rest)) => {
                self.rest = rest;
                Ok(End::Offer)
            }
            _ => Err(BadOffer),
        }
    }

    fn value(&mut self) -> Result<Vec<u8>, BadOffer> {
        if !self.eat(b'"') {
            return Ok(self.token()?.to_vec());
        }
        // What is in quotes must be a token, too, when its escapes are resolved.
        let mut value = Vec::new();
        while !self.eat(b'"') {
            self.eat(b'\\');
            let (byte, rest) = self.rest.split_first().filter(|(byte, _)| is_token(**byte)).ok_or(BadOffer)?;
            value.push(*byte);
            self.rest = rest;
        }
        if value.is_empty() { Err(BadOffer) } else { Ok(value) }
    }

    fn token(&mut self) -> Result<&'a [u8], BadOffer> {
        let length = self.rest.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        if token.is_empty() { Err(BadOffer) } else { Ok(token) }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_blanks(&mut self) -> bool {
        let length = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.rest = &self.rest[length..];
        length > 0
    }
}

/// What comes behind a name or a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Header,
    Parameter,
    Offer,
}

/// RFC 9110, 5.6.2
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn answer(header: &str) -> Option<(u8, String)> {
        let agreement = Agreement::on(header.as_bytes()).unwrap_or_else(|_| panic!("{header} is refused"));
        agreement.map(|agreed| (agreed.window.bits(), agreed.answer))
    }

    #[test]
    fn an_offer_is_answered_with_its_own_parameters_and_no_context_takeover() {
        for (header, bits, expected) in [
            ("permessage-deflate", 15, ""),
            // Chromium and the official client.
            ("permessage-deflate; client_max_window_bits", 15, ""),
            ("permessage-deflate;client_max_window_bits\t;\tserver_max_window_bits=9", 9, "; server_max_window_bits=9"),
            (
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
                12,
                "; server_max_window_bits=12; client_max_window_bits=10",
            ),
            ("permessage-deflate; server_max_window_bits=\"1\\0\"", 10, "; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=0xC", 12, "; server_max_window_bits=12"),
            ("permessage-deflate; server_max_window_bits=1e1", 10, "; server_max_window_bits=10"),
            ("x-other; a=1; a=2; b, permessage-deflate, permessage-deflate; server_max_window_bits=8", 15, ""),
        ] {
            let expected =
                format!("permessage-deflate{expected}; server_no_context_takeover; client_no_context_takeover");
            assert_eq!(answer(header), Some((bits, expected)), "{header}");
        }
        assert_eq!(answer(BOTH), Some((15, BOTH.to_owned())));
        let swapped = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
        assert_eq!(answer(swapped), Some((15, swapped.to_owned())));
    }

    #[test]
    fn other_extensions_are_not_agreed_on() {
        for header in
            ["x", "permessage-deflat", "Permessage-Deflate", "permessage-bzip2; a=\"b\", x-webkit-deflate-frame"]
        {
            assert_eq!(answer(header), None, "{header}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for header in [
            "",
            ",",
            ";",
            "a,",
            "a;",
            "a; ",
            "a ",
            " a",
            "a b",
            "a; b c",
            "a; b =c",
            "a; b= c",
            "a; b=",
            "a; b=\"",
            "a; b=\"\"",
            "a; b=\"c",
            "a; b=\"c d\"",
            "a; b=\"c\\\"\"",
            "a; b=\"c\"d",
            "a; b=c\"d\"",
            "a; =b",
            "\"a\"",
            "a; b=\"c\" ",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=8.5",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; client_max_window_bits=0x+a",
            "permessage-deflate; client_max_window_bits=infinity",
            "permessage-deflate, permessage-deflate; unknown",
        ] {
            assert_eq!(Agreement::on(header.as_bytes()), Err(BadOffer), "{header}");
        }
        assert_eq!(Agreement::on(b"a; b=\xe9"), Err(BadOffer));
    }

    #[test]
    fn random_headers_never_panic() {
        let pieces = ["permessage-deflate", "server_max_window_bits", "=", ";", ",", " ", "\"", "\\", "9", "x"];
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let header: String = (0..rng.usize(..12)).map(|_| pieces[rng.usize(..pieces.len())]).collect();
            let _ = Agreement::on(header.as_bytes());
        }
    }
}
