//! An application with a configuration and HTTP of its own that does something when its workers begin and end.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use axum::{
    Extension, Json, Router, extract,
    http::StatusCode,
    routing::{get, post},
};
use roomd::{Ack, App, Handle, Io, PeerAddress, State};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    greeting: String,
    /// What is wrong with it, if something is: where it fails or waits.
    #[serde(default)]
    trouble: Trouble,
}

#[derive(Deserialize, Default, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Trouble {
    #[default]
    None,
    NoDatabase,
    DatabaseHangs,
    StartFails,
    StopHangs,
}

fn main() -> ExitCode {
    roomd::run(async |config: Config| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match config.trouble {
            Trouble::NoDatabase => Err("the database is away"),
            Trouble::DatabaseHangs => std::future::pending().await,
            _ => Ok(app(config)),
        }
    })
}

fn app(config: Config) -> App {
    App::new()
        .state(config)
        .namespace("/", |namespace| {
            namespace.on("greet", async |ack: Ack, config: State<Config>| ack.send(&config.greeting))
        })
        .http(|handle| {
            Router::new()
                .route("/hello", get(async |Extension(peer): Extension<PeerAddress>| format!("hello {peer:?}")))
                .route("/tell", post(tell))
                .route("/sockets", get(sockets))
                .route("/panic", get(async || -> () { panic!("as tested") }))
                .with_state(handle)
        })
        .on_start(async |config: State<Config>, io: Io| {
            if config.trouble == Trouble::StartFails {
                return Err("the cache is cold");
            }
            // What runs beside the clients can reach them.
            tokio::task::spawn_local(async move {
                loop {
                    io.of("/").unwrap().sockets().emit("tick", ()).unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
            Ok(())
        })
        .once_per_host(async |io: Io| -> Result<(), &str> {
            let namespace = io.of("/").unwrap();
            for turn in 0.. {
                namespace.sockets().emit("turn", (io.worker().to_string(), turn)).unwrap();
                // Fails once in a while, and goes on.
                if turn == 20 {
                    return Err("lost the thread");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
        .on_stop(async |config: State<Config>| {
            if config.trouble == Trouble::StopHangs {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            fs::write(PathBuf::from(format!("stopped-{}", std::process::id())), "")
        })
}

/// Emits to everybody, from a request.
async fn tell(extract::State(handle): extract::State<Handle>, Json(text): Json<String>) -> StatusCode {
    let told = handle.with(|io| io.of("/").unwrap().sockets().emit("told", text).is_ok()).await;
    if told == Ok(true) { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
}

/// How many sockets the cluster has, asked from a request.
async fn sockets(extract::State(handle): extract::State<Handle>) -> Json<Option<usize>> {
    let count = handle.run(async |io| Some(io.of("/")?.sockets().fetch_sockets().await.ok()?.answers.len()));
    Json(count.await.ok().flatten())
}
