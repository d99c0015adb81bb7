//! The shell: asks the supervisor, reads keys and signals, owns the terminal.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crossterm::{
    event::{self, Event},
    execute, terminal,
};
use nix::sys::signal::{Signal, raise};
use ratatui::{
    DefaultTerminal,
    layout::{Position, Rect},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    header::Silence,
    rates::{Meter, Picture},
    render::{Screen, plain, render},
    view::{Action, View},
};
use crate::{
    control::{Ask, Client, ClientError},
    status::Status,
};

/// How long an answer may take before the supervisor counts as silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the screen is drawn while nothing comes: so that the time without an answer is seen to pass.
const TICK: Duration = Duration::from_secs(1);

/// Why the view ended, other than by a key.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The supervisor did not answer the first question.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal failed.
    #[error("the terminal failed: {0}; `roomd top --once` needs none")]
    Terminal(#[from] io::Error),
    /// A part of this program ended that should not have.
    #[error("the part that asks the supervisor ended")]
    Ended,
}

/// Shows the cluster of a control socket: until a key ends it or, where `once` is said or the output is no terminal, once as text,
/// which is returned.
pub async fn run(control: PathBuf, every: Duration, once: bool) -> Result<Option<String>, TopError> {
    // Before the terminal is touched: who runs no cluster is told so in plain words.
    let mut client = Client::connect(&control).await?;
    let mut meter = Meter::default();
    let first = meter.take(client.ask(Ask::Status).await?, std::time::Instant::now());
    if once || !io::stdout().is_terminal() {
        return once_more(client, meter, every).await.map(|picture| Some(plain(&picture)));
    }
    let terminal = ratatui::try_init()?;
    let outcome =
        Top { terminal, meter, picture: first, view: View::default(), answered: Instant::now(), silent: None };
    let outcome = outcome.run(control, every).await;
    let restored = ratatui::try_restore();
    outcome?;
    // Where the terminal is gone there is none to restore.
    drop(restored);
    Ok(None)
}

/// The second look, which has rates. Workers report each second: where none has since the first look, there is one more.
async fn once_more(mut client: Client, mut meter: Meter, every: Duration) -> Result<Picture, TopError> {
    sleep(every).await;
    let picture = meter.take(client.ask(Ask::Status).await?, std::time::Instant::now());
    if picture.total.is_some() || picture.status.ready() == 0 {
        return Ok(picture);
    }
    sleep(TICK).await;
    Ok(meter.take(client.ask(Ask::Status).await?, std::time::Instant::now()))
}

struct Top {
    terminal: DefaultTerminal,
    meter: Meter,
    picture: Picture,
    view: View,
    /// When the supervisor last answered.
    answered: Instant,
    /// Why it did not since.
    silent: Option<String>,
}

impl Top {
    async fn run(mut self, control: PathBuf, every: Duration) -> Result<(), TopError> {
        let mut answers = ask_forever(control, every);
        let mut events = read_forever();
        let mut ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let [term, int, hup, quit] = &mut ends[..] else { return Err(TopError::Ended) };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.draw()?;
            tokio::select! {
                answer = answers.recv() => self.take(answer.ok_or(TopError::Ended)?),
                event = events.recv() => match event {
                    None => return Ok(()),
                    Some(event) => if !self.event(&event?)? {
                        return Ok(());
                    },
                },
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = hup.recv() => return Ok(()),
                _ = quit.recv() => return Ok(()),
                _ = tick.tick() => {}
            }
        }
    }

    fn take(&mut self, answer: Result<Status, ClientError>) {
        match answer {
            Ok(status) => {
                let picture = self.meter.take(status, std::time::Instant::now());
                if !self.view.paused {
                    self.picture = picture;
                }
                (self.answered, self.silent) = (Instant::now(), None);
            }
            Err(error) => self.silent = Some(error.to_string()),
        }
    }

    /// Whether to go on.
    fn event(&mut self, event: &Event) -> io::Result<bool> {
        let Event::Key(key) = event else { return Ok(true) };
        match self.view.key(*key, self.picture.status.workers.len()) {
            Action::Quit => return Ok(false),
            Action::Suspend => self.suspend()?,
            Action::DrawAnew => self.draw_anew()?,
            Action::Draw | Action::Nothing => {}
        }
        Ok(true)
    }

    /// Gives the terminal back until the shell lets this go on.
    fn suspend(&mut self) -> io::Result<()> {
        self.terminal.show_cursor()?;
        ratatui::try_restore()?;
        raise(Signal::SIGSTOP)?;
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), terminal::EnterAlternateScreen)?;
        self.draw_anew()
    }

    /// Forgets what is on the screen. (`Terminal::clear` would ask the terminal for its cursor, and the answer be read as keys.)
    fn draw_anew(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    fn draw(&mut self) -> io::Result<()> {
        let silence = self.silent.as_deref().map(|reason| Silence { lasts: self.answered.elapsed(), reason });
        let screen = Screen { picture: &self.picture, view: &self.view, silence };
        self.terminal.draw(|frame| render(screen, frame.area(), frame.buffer_mut())).map(drop)
    }
}

/// Asks again and again, over one connection as long as it holds.
fn ask_forever(control: PathBuf, every: Duration) -> mpsc::Receiver<Result<Status, ClientError>> {
    let (sender, answers) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut client = None;
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let answer = match timeout(PATIENCE, ask(&control, &mut client)).await {
                Ok(answer) => answer,
                Err(_) => Err(ClientError::NoAnswer(control.clone())),
            };
            if sender.send(answer).await.is_err() {
                return;
            }
        }
    });
    answers
}

/// The connection is put back only after a whole answer: whatever comes late on one that was given up is nobody's answer.
async fn ask(control: &Path, client: &mut Option<Client>) -> Result<Status, ClientError> {
    let mut connected = match client.take() {
        Some(connected) => connected,
        None => Client::connect(control).await?,
    };
    let status = connected.ask(Ask::Status).await?;
    *client = Some(connected);
    Ok(status)
}

/// Reads the terminal, on a thread that lives as long as the process: it cannot be waited for in any other way.
fn read_forever() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, events) = mpsc::channel(16);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                return;
            }
        }
    });
    events
}
