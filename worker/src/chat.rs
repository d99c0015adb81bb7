//! The built-in application: the chat of the project's first example.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::socketio::{Ack, App, Args, MAX_ROOM_NAME_BYTES, Socket};

/// The room that everybody begins in.
const HOME: &str = "general";

#[derive(Serialize)]
struct Message<'a> {
    user: &'a str,
    text: &'a str,
    /// Milliseconds since 1970.
    timestamp: u64,
}

#[derive(Serialize)]
struct Refused {
    error: &'static str,
}

/// The application, with its page at `/`: `roomd::run(roomd::chat::app)` is the whole of the `roomd` program.
///
/// ```
/// use roomd_worker::chat;
///
/// assert!(chat::app().check().is_ok());
/// ```
pub fn app() -> App {
    App::new().with_page().namespace("/", |namespace| {
        namespace
            .on_connect(async |socket: Socket| {
                socket.join(HOME);
            })
            .on("chatMessage", async |socket: Socket, Args(text): Args<String>| {
                say(&socket, HOME, socket.id(), &text);
            })
            .on("joinRoom", async |socket: Socket, Args(room): Args<String>, ack: Ack| {
                if room.len() > MAX_ROOM_NAME_BYTES {
                    let _ = ack.send(Refused { error: "the room's name is too long" });
                    return;
                }
                for old in socket.rooms().iter().skip(1) {
                    socket.leave(old);
                }
                socket.join(&room);
                say(&socket, &room, "System", &format!("Client {} joined {room}", socket.id()));
            })
            .on("roomMessage", async |socket: Socket, Args((room, text)): Args<(String, String)>| {
                say(&socket, &room, socket.id(), &text);
            })
            .on_disconnect(async |socket: Socket| {
                say(&socket, HOME, "System", &format!("Client {} disconnected", socket.id()));
            })
    })
}

/// Sends a message to a room, on all workers.
fn say(socket: &Socket, room: &str, user: &str, text: &str) {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let sent = socket.nsp().sockets().to(room).emit("message", Message { user, text, timestamp });
    debug_assert!(sent.is_ok(), "a message has a JSON form");
}
