//! What is logged: directives such as `info,roomd_worker=debug`, looked at before they are taken.

use tracing_subscriber::filter::Directive;

use crate::config::nearest;

/// What is logged unless something else is said.
pub const DEFAULT_FILTER: &str = "info";

/// The longest filter: it goes to every worker in one message.
const MAX_FILTER_BYTES: usize = 4096;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Says what is wrong with a filter, and where in it.
pub fn check(filter: &str) -> Result<(), String> {
    if filter.len() > MAX_FILTER_BYTES {
        return Err(format!("it is longer than {MAX_FILTER_BYTES} bytes"));
    }
    let mut at = 0;
    for part in filter.split(',') {
        let word = part.trim();
        let place =
            filter[..at].chars().count() + part.chars().take_while(|character| character.is_whitespace()).count() + 1;
        at += part.len() + 1;
        if let Some(wrong) = wrong(word) {
            return Err(format!("`{word}` at character {place} {wrong}"));
        }
    }
    Ok(())
}

fn wrong(word: &str) -> Option<String> {
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    if word.is_empty() {
        return None;
    }
    if word.chars().all(|character| character.is_ascii_alphabetic()) {
        // To the filter it names a module, of which there is none: nothing would be logged, not even errors.
        let meant = if is_level(word) { None } else { nearest(word, LEVELS) };
        return meant.map(|level| format!("is no level, did you mean {level}?"));
    }
    word.parse::<Directive>().err().map(|error| {
        let level = word.rsplit('=').next().unwrap_or(word);
        match nearest(level, LEVELS) {
            Some(meant) if !is_level(level) => format!("has no level `{level}`, did you mean {meant}?"),
            _ if word.contains('=') => format!("has no level: after `=` comes one of {}", LEVELS.join(", ")),
            _ => format!("is no module or level: {error}"),
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_does_not_silence_the_log() {
        for (filter, meant) in [
            ("inof", "`inof` at character 1 is no level, did you mean info?"),
            ("warning", "did you mean warn?"),
            ("Debgu", "did you mean debug?"),
            ("roomd_worker=debug, eror", "`eror` at character 21 is no level, did you mean error?"),
            ("err", "did you mean error?"),
            ("trac,hyper=off", "did you mean trace?"),
            ("info,roomd=debgu", "`roomd=debgu` at character 6 has no level `debgu`, did you mean debug?"),
            ("é,x=xyz", "`x=xyz` at character 3 has no level: after `=` comes one of off, error"),
        ] {
            assert!(check(filter).unwrap_err().contains(meant), "{filter}: {:?}", check(filter));
        }
        for good in [
            "info",
            "INFO",
            "off",
            "",
            "3",
            "roomd",
            "roomd_worker",
            "hyper",
            "tokio,warn",
            "my_app",
            "chat",
            "a=info",
            "a::b=trace",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert!(check(&"a,".repeat(MAX_FILTER_BYTES)).unwrap_err().contains("longer"));
    }
}
