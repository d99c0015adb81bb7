//! The commands that talk to a running cluster, and `check`.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout_at};

use super::{failure::Failure, order::Order, patience, table::table};
use crate::{
    application::AppShape,
    command::{Drained, Killed, Published, Reloaded, Scaled, Undrained, Upgraded},
    config::{Flags, Sources, TOKEN_VARIABLE},
    control::{Ask, Client, ClientError},
    logging::{LogOrder, LogStatus},
    status::{ClusterState, Status},
    top,
};

/// How often `wait` looks.
const WAIT_STEP: Duration = Duration::from_millis(50);

/// Shows every problem of the file.
pub fn check(sources: Sources) -> Result<(), Failure> {
    let config = sources.check()?;
    match sources.file() {
        Some(file) => show(&format!("{}: no problems", file.display()))?,
        None => show("there is no cluster.toml here: the built-in defaults are used")?,
    }
    match config.admin_nobody_may_use() {
        Some(note) if sources.environment.get(TOKEN_VARIABLE).is_none() => show(&format!("note: {note}")),
        _ => Ok(()),
    }
}

/// Shows what runs.
pub async fn status(place: Flags, json: bool) -> Result<(), Failure> {
    let status: Status = connect(place).await?.ask(Ask::Status).await?;
    if json {
        show(&serde_json::to_string(&status).map_err(Failure::runtime)?)
    } else {
        show(table(&status).trim_end())
    }
}

/// Shows what runs, live.
pub async fn top(place: Flags, interval: Duration, once: bool) -> Result<(), Failure> {
    if let Some(text) = top::run(control_path(place), interval, once).await.map_err(Failure::runtime)? {
        return show(&text);
    }
    Ok(())
}

/// Replaces all workers, so many at a time.
pub async fn reload(place: Flags, parallel: u16) -> Result<(), Failure> {
    let ask = Ask::Reload { parallel: Some(parallel) };
    let done: Reloaded = patience::ask(&control_path(place), ask, "the reload").await?;
    print(&format!("{} replaced", count(done.replaced, "worker")));
    Ok(())
}

/// Replaces the supervisor's program.
pub async fn upgrade(place: Flags, binary: Option<PathBuf>) -> Result<(), Failure> {
    // As seen from here: the supervisor may be elsewhere.
    let binary = binary.map(std::path::absolute).transpose().map_err(Failure::runtime)?;
    let done: Upgraded = connect(place).await?.ask_long(Ask::Upgrade { binary }).await?;
    let Upgraded { from, to, pid, replaced } = done;
    print(&format!("from roomd {from} to {to} (process {pid}), {} replaced", count(replaced, "worker")));
    Ok(())
}

/// Changes the number of workers.
pub async fn scale(place: Flags, workers: u16) -> Result<(), Failure> {
    let what = "the change of the number of workers";
    let done: Scaled = patience::ask(&control_path(place), Ask::Scale { workers }, what).await?;
    print(&format!("from {} to {}", done.from, count(done.to, "worker")));
    Ok(())
}

/// Takes a slot out of service, and waits until its clients have gone.
pub async fn drain(place: Flags, slot: u16, force: bool) -> Result<(), Failure> {
    let done: Drained = patience::ask(&control_path(place), Ask::Drain { slot, force }, "the drain").await?;
    print(&format!("slot {} is drained", done.slot));
    Ok(())
}

/// Puts a slot back into service.
pub async fn undrain(place: Flags, slot: u16) -> Result<(), Failure> {
    let done: Undrained = patience::ask(&control_path(place), Ask::Undrain { slot }, "the start").await?;
    print(&format!("slot {} is in service", done.slot));
    Ok(())
}

/// Stops the cluster and waits for its end.
pub async fn stop(place: Flags) -> Result<(), Failure> {
    let mut client = connect(place).await?;
    match client.ask::<()>(Ask::Stop).await {
        Ok(()) => client.wait_for_the_end().await,
        // With nobody to drain it may be faster than its answer.
        Err(ClientError::Ended(_)) => {}
        Err(error) => return Err(error.into()),
    }
    print("stopped");
    Ok(())
}

/// Signals one worker.
pub async fn kill(place: Flags, slot: u16, signal: Signal) -> Result<(), Failure> {
    let name = signal.as_str().trim_start_matches("SIG");
    let done: Killed = connect(place).await?.ask(Ask::Kill { slot, signal: name.into() }).await?;
    print(&format!("sent {name} to process {} of slot {slot}", done.pid));
    Ok(())
}

/// Shows or changes what is logged.
pub async fn log(place: Flags, order: LogOrder) -> Result<(), Failure> {
    let changes = order.filter.is_some() || order.reset;
    let status: LogStatus = connect(place).await?.ask(Ask::Log(order)).await?;
    let text = in_words(&status);
    if changes {
        print(&text);
        return Ok(());
    }
    show(&text)
}

fn in_words(status: &LogStatus) -> String {
    let left = |ends_in: Option<f64>| {
        let left = |seconds: f64| crate::config::show_duration(Duration::from_secs(seconds.ceil() as u64));
        ends_in.map_or(String::new(), |seconds| format!(" (for {} more)", left(seconds)))
    };
    let mut text = format!("{}{}", status.filter, left(status.ends_in_s));
    if status.filter != status.configured {
        text.push_str(&format!("\nconfigured: {}", status.configured));
    }
    for slot in &status.slots {
        text.push_str(&format!("\nslot {}: {}{}", slot.slot, slot.filter, left(slot.ends_in_s)));
    }
    text
}

/// Publishes an order to clients.
pub async fn order(place: Flags, Order { kind, body }: Order) -> Result<(), Failure> {
    let _: Published = connect(place).await?.ask(Ask::Publish { order: kind, body }).await?;
    print("published");
    Ok(())
}

/// Waits until every wanted worker is ready and the bus is up. There may be no supervisor yet.
pub async fn wait(place: Flags, timeout: Duration) -> Result<(), Failure> {
    let path = control_path(place);
    let deadline = Instant::now() + timeout;
    let mut reason = "no answer".to_string();
    loop {
        match timeout_at(deadline, ask_status(&path)).await {
            Ok(Ok(status)) => match not_ready(&status) {
                None => return Ok(()),
                Some(why) => reason = why,
            },
            Ok(Err(error @ (ClientError::Forbidden(_) | ClientError::NotUnderstood { .. }))) => {
                return Err(error.into());
            }
            Ok(Err(error)) => reason = error.to_string(),
            Err(_) => {}
        }
        if Instant::now() + WAIT_STEP >= deadline {
            let shown = crate::config::show_duration(timeout);
            return Err(Failure::Runtime(format!("not ready after {shown}: {reason}")));
        }
        sleep(WAIT_STEP).await;
    }
}

async fn ask_status(path: &Path) -> Result<Status, ClientError> {
    Client::connect(path).await?.ask(Ask::Status).await
}

/// What `wait` still waits for. Where it is nothing, `/readyz` has nothing to say either.
pub(super) fn not_ready(status: &Status) -> Option<String> {
    let (ready, wanted) = (status.ready(), usize::from(status.supervisor.wanted_workers));
    if status.supervisor.state == ClusterState::Stopping {
        return Some("the cluster is stopping".into());
    }
    if ready < wanted {
        return Some(format!("{ready} of {wanted} workers are ready: `roomd status` shows what the others do"));
    }
    status.bus_trouble()
}

fn control_path(place: Flags) -> PathBuf {
    Sources::of_process(place, AppShape::default()).control_path()
}

async fn connect(place: Flags) -> Result<Client, ClientError> {
    Client::connect(&control_path(place)).await
}

fn count(number: u16, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// To standard output: what the command was for. A file that it is missing from must not look whole.
pub fn show(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Who closed it does not want it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Runtime(format!("could not write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// To standard output: word of something that is done, whether somebody hears it or not.
pub fn print(text: &str) {
    let _ = show(text);
}
