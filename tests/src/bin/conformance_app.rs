//! The application that the public conformance suite of the Socket.IO protocol wants.

use std::process::ExitCode;

use roomd::{Ack, App, Data, EncodeError, Socket};

fn main() -> ExitCode {
    roomd::run(app)
}

fn app() -> App {
    App::new()
        .namespace("/", |namespace| {
            namespace
                .on_connect(tell_auth)
                .on("message", async |socket: Socket, data: Data| -> Result<(), EncodeError> {
                    socket.emit_data(&data.without_name().with_name("message-back")?);
                    Ok(())
                })
                .on("message-with-ack", async |data: Data, ack: Ack| ack.send_data(&data.without_name()))
        })
        .namespace("/custom", |namespace| namespace.on_connect(tell_auth))
}

async fn tell_auth(socket: Socket) -> Result<(), EncodeError> {
    socket.emit("auth", socket.auth())
}
