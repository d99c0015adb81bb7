//! Redis URLs: checked before a worker gets them, and never shown with their password.

use redis::IntoConnectionInfo;

const EXAMPLE: &str = r#"give a URL such as "redis://127.0.0.1:6379", "rediss://user:password@host:6380/0" or "unix:///run/redis.sock?db=0""#;

/// What the host is taken for when only a port is given.
const DEFAULT_HOST: &str = "127.0.0.1";

/// Checks a URL. The error says what is wrong and never holds the URL itself, which may hold a password.
pub fn check(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err(format!("it is empty: {EXAMPLE}"));
    }
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(format!("it has no scheme: {EXAMPLE}"));
    };
    if !matches!(scheme, "redis" | "rediss" | "unix" | "redis+unix") {
        return Err(match scheme {
            // What stands before the first colon of `user:password@host` must not be shown.
            _ if !rest.starts_with("//") => format!("it has no scheme: {EXAMPLE}"),
            _ => format!("`{scheme}` is no scheme of Redis: {EXAMPLE}"),
        });
    }
    if matches!(scheme, "redis" | "rediss") && !rest.starts_with("//") {
        return Err(format!("`{scheme}:` needs two slashes: {EXAMPLE}"));
    }
    url.into_connection_info().map(drop).map_err(|error| format!("{}: {EXAMPLE}", reason(&error)))
}

/// The redis crate's own reason where it is a fixed text; its details may quote the URL.
fn reason(error: &redis::RedisError) -> String {
    let text = error.to_string();
    ["Invalid database number", "Missing hostname", "Redis URL did not parse"]
        .into_iter()
        .find(|known| text.contains(known))
        .map_or_else(|| "it does not parse".into(), str::to_lowercase)
}

/// The URL with its password replaced, for status and logs.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".into();
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password may hold an unescaped @ or /, then the authority ends later than it should: the last @ of the URL counts.
    let (authority, tail) = match rest.rfind('@') {
        Some(at) if at >= authority.len() => {
            rest.split_at(rest[at..].find(['/', '?', '#']).map_or(rest.len(), |end| at + end))
        }
        _ => (authority, tail),
    };
    let authority = match authority.rsplit_once('@') {
        None => authority.to_string(),
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{user}@{host}"),
        },
    };
    let tail = match tail.split_once('?') {
        None => tail.to_string(),
        Some((path, query)) => {
            let query: Vec<_> =
                query.split('&').map(|pair| if pair.starts_with("pass") { "pass=***" } else { pair }).collect();
            format!("{path}?{}", query.join("&"))
        }
    };
    format!("{scheme}://{authority}{tail}")
}

/// The URL that the example's own `REDIS_HOST` and `REDIS_PORT` mean, if they mean one.
///
/// Kubernetes sets `REDIS_PORT=tcp://10.0.0.1:6379` in every container next to a service called `redis`; without a `REDIS_HOST`
/// nobody has asked for Redis by that.
pub fn from_host_and_port(host: Option<&str>, port: Option<&str>) -> Option<Result<String, String>> {
    let (host, port) = match (host, port) {
        (None, None) => return None,
        (None, Some(port)) if port.contains("://") => return None,
        (host, port) => (host.unwrap_or(DEFAULT_HOST), port.unwrap_or("6379")),
    };
    let port = port.rsplit_once(':').filter(|_| port.contains("://")).map_or(port, |(_, number)| number);
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Some(Err(format!("REDIS_PORT `{port}` is no port: give a number such as 6379")));
    }
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_string() };
    let url = format!("redis://{host}:{port}");
    Some(check(&url).map(|()| url).map_err(|_| "REDIS_HOST is no host name: give one such as 127.0.0.1".into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_redis_url_are_taken() {
        for good in [
            "redis://127.0.0.1:6379",
            "redis://host",
            "redis://user:pa%40ss@host:6380/2",
            "redis://:password@host",
            "rediss://host:6380/0",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=1&pass=x",
            "redis://[::1]:6379",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn an_error_never_shows_the_password() {
        for bad in [
            "",
            "secret@host",
            "user:secret@host:6379",
            "http://user:secret@host",
            "redis:user:secret@host",
            "redis://user:secret@host:port",
            "redis://user:secret@host:6379/db",
            "redis://user:secret@",
            "redis://user:secret@host:99999",
        ] {
            let error = check(bad).unwrap_err();
            assert!(!error.contains("secret"), "{bad}: {error}");
            assert!(error.contains("give a URL such as"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        let cases = [
            ("redis://host:6379/1", "redis://host:6379/1"),
            ("redis://user:secret@host:6379/1", "redis://user:***@host:6379/1"),
            ("redis://:secret@host", "redis://:***@host"),
            ("redis://user@host", "redis://user@host"),
            ("redis://user:sec@ret@host", "redis://user:***@host"),
            ("redis://user:sec/ret@host/2", "redis://user:***@host/2"),
            ("unix:///run/redis.sock?db=1&pass=secret", "unix:///run/redis.sock?db=1&pass=***"),
            ("secret", "***"),
        ];
        for (url, shown) in cases {
            assert_eq!(redact(url), shown);
        }
    }

    #[test]
    fn host_and_port_of_the_example_make_a_url() {
        let url = |host, port| from_host_and_port(host, port).map(Result::unwrap);
        assert_eq!(url(None, None), None);
        assert_eq!(url(Some("redis"), None).as_deref(), Some("redis://redis:6379"));
        assert_eq!(url(None, Some("7000")).as_deref(), Some("redis://127.0.0.1:7000"));
        assert_eq!(url(Some("::1"), Some("7000")).as_deref(), Some("redis://[::1]:7000"));
        assert_eq!(url(None, Some("tcp://10.0.0.1:6379")), None);
        assert_eq!(url(Some("redis"), Some("tcp://10.0.0.1:6380")).as_deref(), Some("redis://redis:6380"));
        for bad in ["x", "0", "70000", "tcp://a:x"] {
            assert!(from_host_and_port(Some("redis"), Some(bad)).unwrap().unwrap_err().contains("is no port"), "{bad}");
        }
        assert!(from_host_and_port(Some("a b"), None).unwrap().is_err());
    }
}
