//! One HTTP answer at the front of what a server sent.

/// An answer.
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in alphabetical order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads one, and what is behind it; `None` where it is none, or not whole.
    pub fn read(bytes: &[u8]) -> Option<(Answer, &[u8])> {
        let mut rest = bytes.starts_with(b"HTTP/1.1 ").then_some(bytes)?;
        let status: u16 = line(&mut rest)?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut rest)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        headers.sort();
        let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let body = if status == 101 || status == 204 {
            Vec::new()
        } else if header("transfer-encoding") == Some("chunked") {
            chunks(&mut rest)?
        } else {
            take(&mut rest, header("content-length").map_or(Some(0), |length| length.parse().ok())?)?.to_vec()
        };
        Some((Answer { status, headers, body }, rest))
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn line(rest: &mut &[u8]) -> Option<String> {
    let end = rest.windows(2).position(|window| window == b"\r\n")?;
    let line = take(rest, end + 2)?;
    Some(String::from_utf8_lossy(&line[..end]).into_owned())
}

fn chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(rest)?, 16).ok()?;
        body.extend(take(rest, length)?);
        take(rest, 2)?;
        if length == 0 {
            return Some(body);
        }
    }
}
