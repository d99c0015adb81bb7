//! The cookie of a session that begins by polling, as the `cookie` package writes it.

use std::fmt::Write;

use http::HeaderValue;
use roomd_wire::{CookieConfig, SameSite, Sid};

/// Writes it.
#[derive(Debug)]
pub(super) struct Cookie {
    /// Name and equals sign.
    before: String,
    /// The attributes, in that package's order.
    behind: String,
}

impl Cookie {
    pub(super) fn new(config: &CookieConfig) -> Cookie {
        let mut behind = String::new();
        // Writing into a String does not fail.
        if let Some(seconds) = config.max_age_s {
            let _ = write!(behind, "; Max-Age={seconds}");
        }
        for (attribute, value) in [("Domain", &config.domain), ("Path", &config.path)] {
            if let Some(value) = value {
                let _ = write!(behind, "; {attribute}={value}");
            }
        }
        for (attribute, is_set) in [("; HttpOnly", config.http_only), ("; Secure", config.secure)] {
            if is_set {
                behind += attribute;
            }
        }
        behind += match config.same_site {
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        };
        Cookie { before: format!("{}=", config.name), behind }
    }

    /// The header's value for a session. `None` where the configuration was not checked, and holds what no header may.
    pub(super) fn value(&self, sid: &Sid) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}{}{}", self.before, sid.as_str(), self.behind)).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomd_wire::{Generation, SidHome, Slot, WorkerId};

    use super::*;

    #[test]
    fn attributes_are_those_of_the_cookie_package_in_its_order() {
        let home = SidHome { host: 1, worker: WorkerId { slot: Slot(0), generation: Generation(1) } };
        let sid = Sid::new(home, [0; 15]);
        let shown = |config: &CookieConfig| {
            let value = Cookie::new(config).value(&sid).unwrap();
            value.to_str().unwrap().replace(sid.as_str(), "SID")
        };
        assert_eq!(shown(&CookieConfig::default()), "io=SID; Path=/; HttpOnly; SameSite=Lax");
        let all = CookieConfig {
            name: "my".into(),
            domain: Some("a.example".into()),
            max_age_s: Some(60),
            secure: true,
            same_site: Some(SameSite::None),
            ..CookieConfig::default()
        };
        assert_eq!(shown(&all), "my=SID; Max-Age=60; Domain=a.example; Path=/; HttpOnly; Secure; SameSite=None");
        let none = CookieConfig { path: None, http_only: false, same_site: None, ..CookieConfig::default() };
        assert_eq!(shown(&none), "io=SID");
    }
}
