//! Names of signals, as `kill` takes them.

use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::config::nearest;

/// A signal by its name, with or without `SIG`, or by its number.
pub fn parse_signal(text: &str) -> Result<Signal, String> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number)
            .map_err(|_| format!("there is no signal {number}: give a name such as KILL, TERM or STOP"));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    Signal::from_str(&format!("SIG{name}")).map_err(|_| {
        let names: Vec<String> = Signal::iterator().map(|signal| signal.as_str()[3..].to_ascii_lowercase()).collect();
        match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("there is no signal {text}: did you mean {}?", near.to_ascii_uppercase()),
            None => format!("there is no signal {text}: give a name such as KILL, TERM or STOP"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_and_number() {
        for text in ["KILL", "SIGKILL", "kill", "sigkill", "9"] {
            assert_eq!(parse_signal(text), Ok(Signal::SIGKILL), "{text}");
        }
        assert_eq!(parse_signal("USR1"), Ok(Signal::SIGUSR1));
        assert_eq!(parse_signal("SEG"), Err("there is no signal SEG: did you mean SEGV?".into()));
        assert!(parse_signal("WAVE").is_err());
        assert!(parse_signal("0").is_err());
        assert!(parse_signal("").is_err());
    }
}
