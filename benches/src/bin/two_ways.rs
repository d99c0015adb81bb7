//! An application that passes messages on in two ways: with types, as applications are written, and as the bytes they came as. What
//! the first costs beside the second is what types cost.

use std::process::ExitCode;

use roomd::{App, Args, Data, Socket};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Said {
    user: String,
    text: String,
    at: f64,
}

fn main() -> ExitCode {
    roomd::run(app)
}

fn app() -> App {
    App::new().namespace("/", |namespace| {
        namespace
            .on("joinRoom", async |socket: Socket, Args(room): Args<String>| {
                socket.join(room.as_str());
            })
            .on("typed", async |socket: Socket, Args((room, said)): Args<(String, Said)>| {
                socket.nsp().sockets().to(room.as_str()).emit("message", said)
            })
            .on("raw", async |socket: Socket, data: Data| {
                let mut elements = data.elements();
                if let (Some(_name), Some(room), Some(said)) = (elements.next(), elements.next(), elements.next())
                    && let Ok(event) = Data::from_json(format!("[\"message\",{said}]"))
                {
                    socket.nsp().sockets().to(room.trim_matches('"')).emit_data(&event);
                }
            })
    })
}
