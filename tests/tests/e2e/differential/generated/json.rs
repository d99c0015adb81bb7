//! The JSON of packets as its reader sees it: JavaScript keeps neither how a number was written nor a key that came twice.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

/// A packet's text with its JSON rewritten; ids that servers invent are left out.
pub fn plain(packet: &str) -> String {
    let Some(at) = packet.find(['[', '{', '"']) else { return packet.to_owned() };
    let (head, json) = packet.split_at(at);
    let mut reader = Reader { rest: json.chars().peekable() };
    match reader.value().filter(|_| reader.rest.next().is_none()) {
        // A server counts its questions for all clients together.
        Some(json) if json.starts_with("[\"question\"") => {
            format!(
                "{}ID{json}",
                head.strip_prefix("42").unwrap_or(head).trim_end_matches(|digit: char| digit.is_ascii_digit())
            )
        }
        Some(json) => format!("{head}{json}"),
        None => packet.to_owned(),
    }
}

/// How many attachments belong to a packet.
pub fn attachments(packet: &str) -> usize {
    let Some(rest) = packet.strip_prefix("45").or_else(|| packet.strip_prefix("46")) else { return 0 };
    rest.split_once('-').and_then(|(count, _)| count.parse().ok()).unwrap_or(0)
}

/// What stands for an attachment.
pub fn placeholder(index: usize) -> String {
    format!("{{\"_placeholder\":true,\"num\":{index}}}")
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.rest.next_if(|next| " \t\r\n".contains(*next)).is_some() {}
    }

    fn value(&mut self) -> Option<String> {
        self.space();
        let value = match self.rest.peek()? {
            '[' => self.array(),
            '{' => self.object(),
            '"' => self.string(),
            't' => self.word("true"),
            'f' => self.word("false"),
            'n' => self.word("null"),
            _ => self.number(),
        };
        self.space();
        value
    }

    fn word(&mut self, word: &str) -> Option<String> {
        for character in word.chars() {
            self.rest.next_if_eq(&character)?;
        }
        Some(word.to_owned())
    }

    fn number(&mut self) -> Option<String> {
        let mut text = String::new();
        while let Some(character) = self.rest.next_if(|next| next.is_ascii_digit() || "+-.eE".contains(*next)) {
            text.push(character);
        }
        let number: f64 = text.parse().ok()?;
        if !number.is_finite() {
            return Some("null".into());
        }
        Some(if number == 0.0 { "0".into() } else { number.to_string() })
    }

    fn string(&mut self) -> Option<String> {
        self.rest.next();
        let mut units = Vec::new();
        loop {
            let character = self.rest.next()?;
            let unescaped = match character {
                '"' => break,
                '\\' => match self.rest.next()? {
                    'u' => {
                        let digits: String = self.rest.by_ref().take(4).collect();
                        units.push(u16::from_str_radix(&digits, 16).ok()?);
                        continue;
                    }
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                },
                other => other,
            };
            units.extend(unescaped.encode_utf16(&mut [0; 2]).iter());
        }
        let escape = |unit: u16| match u8::try_from(unit).map(char::from) {
            Ok(plain @ (' ' | '!' | '#'..='[' | ']'..='~')) => plain.to_string(),
            _ => format!("\\u{unit:04x}"),
        };
        Some(format!("\"{}\"", units.into_iter().map(escape).collect::<String>()))
    }

    fn array(&mut self) -> Option<String> {
        self.rest.next();
        let mut values = Vec::new();
        self.space();
        while self.rest.next_if_eq(&']').is_none() {
            if !values.is_empty() {
                self.rest.next_if_eq(&',')?;
            }
            values.push(self.value()?);
        }
        Some(format!("[{}]", values.join(",")))
    }

    fn object(&mut self) -> Option<String> {
        self.rest.next();
        let mut values = BTreeMap::new();
        self.space();
        while self.rest.next_if_eq(&'}').is_none() {
            if !values.is_empty() {
                self.rest.next_if_eq(&',')?;
            }
            self.space();
            let key = self.string()?;
            self.space();
            self.rest.next_if_eq(&':')?;
            let mut value = self.value()?;
            if key == "\"sid\"" && matches!(value.len(), 22 | 34) {
                value = "ID".into();
            }
            values.insert(key, value);
        }
        let values = values.into_iter();
        Some(format!("{{{}}}", values.map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(",")))
    }
}

#[test]
fn json_that_means_the_same_reads_the_same() {
    assert_eq!(
        plain("42[ 1e2,-0, \"\\u0061\\/é\" ,{\"b\":1,\"a\":1e999,\"b\":[ ]}]"),
        "42[100,0,\"a/\\u00e9\",{\"a\":null,\"b\":[]}]"
    );
    assert_eq!(plain("40{\"sid\":\"ABCDEFGHIJKLMNOPQRST\"}"), "40{\"sid\":ID}");
    assert_eq!(plain("451-[{\"num\":0,\"_placeholder\":true}]"), format!("451-[{}]", placeholder(0)));
    for text in ["ok", "3probe", "42[1", "42[1]x"] {
        assert_eq!(plain(text), text);
    }
    assert_eq!((attachments("4512-/x,[]"), attachments("42-[]"), attachments("45")), (12, 0, 0));
}
