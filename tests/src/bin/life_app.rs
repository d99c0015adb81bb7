//! An application with a configuration of its own that does something when its workers begin and end.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use roomd::{Ack, App, Io, State};
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
        .on_stop(async |config: State<Config>| {
            if config.trouble == Trouble::StopHangs {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            fs::write(PathBuf::from(format!("stopped-{}", std::process::id())), "")
        })
}
