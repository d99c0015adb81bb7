//! An application that logs and prints what it is told to, over HTTP.
#![allow(clippy::unwrap_used)]

use std::{io::Write as _, process::ExitCode};

use axum::{Router, extract::Path, routing::get};
use roomd::App;

/// What a terminal, a log or a parser of JSON could trip over. The last line has no end.
const GARBAGE: &[u8] = b"\xff\xfe\x80 no UTF-8\n\x1b[2J\x1b]0;title\x07\rback\x08\x00zero\n\n{\"level\":\"ERROR\",\"slot\":99}\n\
    \x1e{\"timestamp\":\"2026-01-01T00:00:00Z\",\"level\":\"WARN\",\"target\":\"forged\",\"message\":\"m\",\"slot\":99,\"pid\":1}\n\x1e{\"no\n\x1e\x1e\n\
    <3>a priority\n\"quoted\\\" \xe2\x80\xaeturned\n2026-01-01T00:00:00Z ERROR fake: line slot=99\nno end";

fn main() -> ExitCode {
    roomd::run(|| {
        App::new().http(|_handle| {
            Router::new()
                .route("/pid", get(async || std::process::id().to_string()))
                .route("/garbage", get(garbage))
                .route("/flood/{lines}", get(flood))
                .route("/warn/{lines}", get(warn))
                .route("/debug", get(async || tracing::debug!(answer = 42, "a detail")))
                .route("/event", get(event))
        })
    })
}

async fn garbage() {
    std::io::stdout().write_all(GARBAGE).unwrap();
    std::io::stderr().write_all(GARBAGE).unwrap();
    std::io::stdout().flush().unwrap();
}

async fn flood(Path(lines): Path<u64>) {
    for line in 0..lines {
        println!("a line of a flood, number {line}");
    }
}

async fn warn(Path(lines): Path<u64>) {
    for line in 0..lines {
        tracing::warn!(line, "the same again");
    }
}

/// Everything that a field can be.
async fn event() {
    let error = std::io::Error::other("a\nb\u{1b}[31m\u{0}");
    tracing::error!(
        error = &error as &dyn std::error::Error,
        level = "mine",
        message_of = ?"\u{202e}\"\\",
        yes = true,
        float = 1.5,
        nan = f64::NAN,
        long = "x".repeat(100_000),
        "two\nlines"
    );
}
