//! The secret that admin clients show before they may order something.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer, de};
use subtle::ConstantTimeEq as _;

/// How long a token may be, in bytes: not so short that it could be guessed, and short enough for a header.
const BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

const EXAMPLE: &str =
    "16 to 1024 letters, digits and signs of ASCII without spaces, for example what `openssl rand -hex 32` prints";

/// A token. It is shown nowhere: its `Debug` does not have it, and what is said of a wrong one does not repeat it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Whether this is the token. How long it takes tells nothing but whether the length is right.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

/// The token in force. A clone is another handle to it: a reload may change it.
#[derive(Clone, Default, Debug)]
pub struct SharedToken(Arc<Mutex<Option<Token>>>);

impl SharedToken {
    /// From now on this one counts.
    pub fn set(&self, token: Option<Token>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// The one that counts now.
    pub fn get(&self) -> Option<Token> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<Option<Token>> for SharedToken {
    fn from(token: Option<Token>) -> Self {
        SharedToken(Arc::new(Mutex::new(token)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Token(text.to_owned())) } else { Err(format!("give {EXAMPLE}")) }
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // In serde's own words, which do not have the value in them.
        let wrong = || de::Error::custom(format!("what it is, expected {EXAMPLE}"));
        String::deserialize(deserializer).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone_and_is_never_shown() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcdeg", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn tokens_that_could_be_guessed_or_stand_in_no_header_are_refused() {
        for text in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdef\n", "0123456789abcdéf"] {
            let refused = text.parse::<Token>().unwrap_err();
            assert!(refused.starts_with("give 16 to 1024") && (text.is_empty() || !refused.contains(text)));
        }
        assert!("x".repeat(1024).parse::<Token>().is_ok());
        assert!("x".repeat(1025).parse::<Token>().is_err());
    }
}
