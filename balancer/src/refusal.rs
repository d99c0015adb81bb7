//! Why the balancer answers a client itself, and what it says. No I/O.

/// Why the balancer answers itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// What came is not HTTP/1.
    BadRequest,
    /// The head did not come in time.
    HeadTimeout,
    /// The head is too large.
    HeadTooLarge,
    /// No worker was ready in time, too many wait for one, or the balancer stops.
    NoWorker,
    /// All connections together are too many.
    Limit,
    /// One address has too many connections.
    AddressLimit,
    /// No descriptor is left for it: in this process, or in the worker that it is for and in all others that it could go to.
    OutOfDescriptors,
}

impl Refusal {
    /// All causes, for figures by cause.
    pub const ALL: [Refusal; 7] = [
        Refusal::BadRequest,
        Refusal::HeadTimeout,
        Refusal::HeadTooLarge,
        Refusal::NoWorker,
        Refusal::Limit,
        Refusal::AddressLimit,
        Refusal::OutOfDescriptors,
    ];

    /// The name in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::BadRequest => "bad_request",
            Refusal::HeadTimeout => "head_timeout",
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::NoWorker => "no_worker",
            Refusal::Limit => "limit",
            Refusal::AddressLimit => "address_limit",
            Refusal::OutOfDescriptors => "out_of_descriptors",
        }
    }

    /// The whole answer. A refusal that passes by itself says when to come back, in seconds.
    pub fn response(self) -> String {
        let (status, retry_after, body) = match self {
            Refusal::BadRequest => ("400 Bad Request", "", "This is not an HTTP/1 request.\n"),
            Refusal::HeadTimeout => ("408 Request Timeout", "", "The request head did not come in time.\n"),
            Refusal::HeadTooLarge => ("431 Request Header Fields Too Large", "", "The request head is too large.\n"),
            Refusal::NoWorker => ("503 Service Unavailable", "2", "No worker is ready.\n"),
            Refusal::Limit => ("503 Service Unavailable", "10", "There are too many connections.\n"),
            Refusal::AddressLimit => {
                ("429 Too Many Requests", "10", "There are too many connections from your address.\n")
            }
            Refusal::OutOfDescriptors => {
                ("503 Service Unavailable", "10", "The server has no descriptor left for a connection.\n")
            }
        };
        let retry_after = match retry_after {
            "" => String::new(),
            seconds => format!("Retry-After: {seconds}\r\n"),
        };
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{retry_after}Content-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_whole_and_every_503_says_when_to_come_back() {
        for refusal in Refusal::ALL {
            let text = refusal.response();
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut headers);
            let Ok(httparse::Status::Complete(body_at)) = response.parse(text.as_bytes()) else {
                panic!("{refusal:?}: {text}");
            };
            let header = |name| response.headers.iter().find(|header| header.name == name).map(|header| header.value);
            assert_eq!(header("Content-Length"), Some((text.len() - body_at).to_string().as_bytes()), "{refusal:?}");
            assert_eq!(header("Connection"), Some(&b"close"[..]), "{refusal:?}");
            let passes = matches!(response.code, Some(503 | 429));
            assert_eq!(header("Retry-After").is_some(), passes, "{refusal:?}");
        }
    }
}
