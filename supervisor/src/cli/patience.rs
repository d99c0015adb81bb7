//! Waiting for what takes its time: says that it goes on, or why it seems not to.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use crate::{
    control::{Ask, Client},
    status::{Progress, Status},
};

/// How often to look how far it is.
const LOOK: Duration = Duration::from_secs(2);
/// How long the supervisor may take to tell its status before that is told.
const SILENCE: Duration = Duration::from_secs(3);

/// Asks for what takes its time, and waits for the answer. `what` goes on when this is interrupted.
pub(super) async fn ask<T: DeserializeOwned>(path: &Path, ask: Ask, what: &str) -> Result<T, Failure> {
    let mut client = Client::connect(path).await?;
    tokio::select! {
        answer = client.ask_long(ask) => Ok(answer?),
        never = watch(path) => match never {},
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::Interrupted(format!("{what} goes on: `roomd status` shows how far it is")))
        }
    }
}

/// Tells on standard error how far it is, to a person, and that there is no answer, to everybody.
async fn watch(path: &Path) -> std::convert::Infallible {
    let mut said: Option<Progress> = None;
    let mut silent = false;
    loop {
        sleep(LOOK).await;
        let status = timeout(SILENCE, async { Client::connect(path).await?.ask::<Status>(Ask::Status).await }).await;
        match status {
            Err(_) if !silent => {
                silent = true;
                say(&format!(
                    "roomd: the supervisor at {} does not answer (it is stopped, or hangs); still waiting",
                    path.display()
                ));
            }
            Ok(Ok(status)) => {
                if std::mem::take(&mut silent) {
                    say("roomd: the supervisor answers again");
                }
                let progress = status.supervisor.progress;
                if progress != said && stderr().is_terminal() {
                    if let Some(Progress { what, done, of }) = &progress {
                        say(&format!("{what}: {done} of {of} done"));
                    }
                    said = progress;
                }
            }
            // The answer itself tells what is wrong.
            Err(_) | Ok(Err(_)) => {}
        }
    }
}

/// Whether somebody reads it or not.
fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}
