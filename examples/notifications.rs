//! Notifications: people connect with their token, other programs post to them over HTTP.
//!
//! `cargo run --release --example notifications`, then
//! `curl -d '{"title": "Lunch"}' -H 'Content-Type: application/json' http://127.0.0.1:3000/notify/ada`.

use std::process::ExitCode;

use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::StatusCode,
    routing::post,
};
use roomd::{Ack, App, Args, Auth, ConnectError, Handle, Socket};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Login {
    token: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Notification {
    title: String,
    #[serde(default)]
    text: String,
}

/// What is kept with a socket, wherever it is served.
#[derive(Serialize, Deserialize, Default)]
struct Person {
    name: String,
    read: u32,
}

fn main() -> ExitCode {
    roomd::run(app)
}

fn app() -> App {
    App::new()
        .namespace("/", |namespace| {
            namespace.use_middleware(login).on("read", async |socket: Socket, Args(count): Args<u32>, ack: Ack| {
                let mut person: Person = socket.data();
                person.read += count;
                socket.set_data(&person)?;
                ack.send(person.read)
            })
        })
        .http(|handle| Router::new().route("/notify/{name}", post(notify)).with_state(handle))
}

/// Whoever has a token is who it names: a real application would look it up.
async fn login(socket: Socket, Auth(login): Auth<Login>) -> Result<(), ConnectError> {
    let name = login.token.as_deref().and_then(|token| token.strip_prefix("token-of-")).ok_or("log in first")?;
    socket.set_data(Person { name: name.to_owned(), read: 0 }).map_err(|error| error.to_string())?;
    socket.join(&room(name));
    Ok(())
}

/// To all of somebody's pages, on whatever worker they are.
async fn notify(
    Shared(handle): Shared<Handle>,
    Path(name): Path<String>,
    Json(sent): Json<Notification>,
) -> StatusCode {
    let emitted =
        handle.with(move |io| Some(io.of("/")?.sockets().to(&room(&name)).emit("notification", sent).is_ok()));
    match emitted.await {
        Ok(Some(true)) => StatusCode::ACCEPTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn room(name: &str) -> String {
    format!("person:{name}")
}
