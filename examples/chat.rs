//! A chat with names: people log in, enter rooms, see who is there and who is typing.
//!
//! `cargo run --release --example chat`, then open <http://127.0.0.1:3000> in two tabs.

use std::process::ExitCode;

use axum::{Router, response::Html, routing::get};
use roomd::{Ack, App, Args, Auth, ConnectError, EncodeError, RequestError, Socket};
use serde::{Deserialize, Serialize};

/// The longest name of a person or room, and the longest message, in bytes.
const MAX_NAME: usize = 40;
const MAX_TEXT: usize = 2000;

#[derive(Deserialize)]
struct Login {
    name: Option<String>,
}

/// Kept with a socket, and seen by all workers.
#[derive(Serialize, Deserialize, Default)]
struct Person {
    name: String,
    room: Option<String>,
}

#[derive(Serialize)]
struct Entered {
    room: String,
    /// Who is there, on all workers.
    people: Vec<String>,
}

#[derive(Serialize)]
struct Said {
    name: String,
    text: String,
}

fn main() -> ExitCode {
    roomd::run(app)
}

fn app() -> App {
    App::new()
        .namespace("/", |namespace| {
            namespace
                .use_middleware(log_in)
                .on("enter", enter)
                .on("say", say)
                .on("typing", typing)
                .on_disconnecting(async |socket: Socket| leave(&socket, &socket.data()))
        })
        .http(|_| Router::new().route("/", get(async || Html(include_str!("chat.html")))))
}

async fn log_in(socket: Socket, Auth(login): Auth<Login>) -> Result<(), ConnectError> {
    let name = login.name.unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(ConnectError::new("a name of 1 to 40 characters is wanted"));
    }
    socket.set_data(Person { name, room: None }).map_err(|error| error.to_string())?;
    Ok(())
}

/// From one room to another. The answer tells who is there already.
async fn enter(socket: Socket, Args(room): Args<String>, ack: Ack) -> Result<(), EncodeError> {
    let mut person: Person = socket.data();
    if room.len() > MAX_NAME || person.room.as_ref() == Some(&room) {
        return Ok(());
    }
    leave(&socket, &person)?;
    person.room = Some(room.clone());
    socket.set_data(&person)?;
    let inside = inside(&room);
    socket.join(&inside);
    socket.to(&inside).emit("entered", &person.name)?;
    // Where another worker does not answer in time, those that did are what is known.
    let found = socket.nsp().sockets().to(&inside).fetch_sockets().await;
    let sockets = found.unwrap_or_else(RequestError::into_partial).answers;
    let mut people: Vec<_> = sockets.iter().map(|socket| socket.data::<Person>().name).collect();
    people.sort();
    ack.send(Entered { room, people })
}

/// The acknowledgement tells the page that its message has arrived.
async fn say(socket: Socket, Args(text): Args<String>, ack: Ack) -> Result<(), EncodeError> {
    let person: Person = socket.data();
    if let Some(room) = person.room.filter(|_| text.len() <= MAX_TEXT) {
        socket.nsp().sockets().to(&inside(&room)).emit("said", Said { name: person.name, text })?;
        ack.send(())?;
    }
    Ok(())
}

/// Of no importance if it gets lost: volatile.
async fn typing(socket: Socket) -> Result<(), EncodeError> {
    let person: Person = socket.data();
    let Some(room) = person.room else { return Ok(()) };
    socket.to(&inside(&room)).volatile().emit("typing", person.name)
}

fn leave(socket: &Socket, person: &Person) -> Result<(), EncodeError> {
    let Some(room) = &person.room else { return Ok(()) };
    let inside = inside(room);
    socket.to(&inside).emit("left", &person.name)?;
    socket.leave(&inside);
    Ok(())
}

/// Names of rooms that people choose are kept apart from those of sockets' own rooms.
fn inside(room: &str) -> String {
    format!("room:{room}")
}
