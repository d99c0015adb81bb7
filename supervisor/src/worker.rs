//! One worker process as the supervisor holds it: started, listened to, signalled.

use std::{
    cell::{Cell, RefCell},
    ffi::OsStr,
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use roomd_balancer::Balancer;
use roomd_wire::{Link, LinkError, ToSupervisor, ToWorker, WorkerId, WorkerStats};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
};

use crate::{
    config::TOKEN_VARIABLE,
    inherit::private_variables,
    last_words::LastWords,
    logging::{self, Origin, Output},
    process::Process,
    slot::Exit,
};

/// What a dead worker still said is read for at most this long: a process that it left behind could hold its socket open.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);
/// How many streams of relayed requests may wait for room in the socket of a worker that does not read. One more is closed,
/// which its request takes for the end of that worker: most likely it hangs, and soon will have been killed.
const MAX_STREAMS_WAITING: usize = 512;

/// The control socket, seen from here.
pub type WorkerLink = Link<ToWorker, ToSupervisor>;

/// What comes from a worker to the supervise loop. Words about connections go to the balancer directly.
#[derive(Debug)]
pub enum FromWorker {
    /// A message.
    Said(ToSupervisor, Vec<OwnedFd>),
    /// It sent what is no message.
    Broke(String),
    /// The process has ended, and all it said has been read.
    Ended(Exit),
}

/// Where that goes. Bounded: a worker that talks faster than the loop listens waits in its own socket.
pub type WorkerEvents = mpsc::Sender<(WorkerId, FromWorker)>;

/// How workers are started: the same executable as this one.
#[derive(Clone, Debug)]
pub struct Program {
    executable: PathBuf,
    /// The file itself, where another one is, or may be, at that path.
    file: Option<Rc<OwnedFd>>,
}

/// A running worker.
pub struct Worker {
    /// The number of its process.
    pub pid: u32,
    /// Its process, which leads a process group.
    pub process: Rc<Process>,
    /// Its control socket.
    pub link: Rc<WorkerLink>,
    /// What it writes.
    pub output: Vec<Rc<Output>>,
    /// What it last said of itself.
    pub stats: RefCell<WorkerStats>,
    /// When it said that.
    pub reported: Cell<Option<Instant>>,
    /// What it last wrote.
    pub last_words: Rc<RefCell<LastWords>>,
    /// Whether it was sent its configuration.
    pub greeted: Cell<bool>,
    /// The handler that keeps it from answering, as it told.
    pub busy_with: RefCell<Option<String>>,
    /// Streams that wait until its socket has room; each holds this.
    streams_waiting: Rc<()>,
    /// Whatever waits until then; each holds this.
    sending: Rc<()>,
    /// Whether the log was told that this worker is without the bus while others have it.
    pub told_without_bus: Cell<bool>,
}

impl Program {
    /// Finds the executable once, now: a path stays right when the file is replaced, for the next worker to be the new program.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Program { executable: std::env::current_exe()?, file: None })
    }

    /// A file that was at this path.
    pub fn of_file(path: PathBuf, file: OwnedFd) -> Self {
        Program { executable: path, file: Some(Rc::new(file)) }
    }

    /// Where it is, or was.
    pub fn path(&self) -> &Path {
        &self.executable
    }

    /// Starts a worker; `events` hears of it until it has ended.
    pub fn start(&self, id: WorkerId, balancer: &Rc<Balancer>, events: &WorkerEvents) -> io::Result<Worker> {
        let (link, theirs) = WorkerLink::pair()?;
        let [(stdout, to_stdout), (stderr, to_stderr)] = [io::pipe()?, io::pipe()?];
        let mut command = match &self.file {
            // In the child it is open under the same number.
            Some(file) => Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())),
            None => Command::new(&self.executable),
        };
        // Nor may it speak to the service manager in the supervisor's name.
        for variable in private_variables() {
            command.env_remove(variable);
        }
        command
            .arg0(OsStr::new("roomd"))
            .arg("worker")
            // An application has no use for it, and its children even less.
            .env_remove(TOKEN_VARIABLE)
            .envs(logging::worker_environment(id.slot.0))
            .stdin(Stdio::from(theirs))
            .stdout(to_stdout)
            .stderr(to_stderr);
        let process = Process::start(&mut command)?;
        // The writing ends, which would hold off the end of what it writes.
        drop(command);
        Worker::attach(id, process, link, [stdout.into(), stderr.into()], balancer, events)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.executable.display().fmt(f)
    }
}

impl Worker {
    /// Listens to a worker; `output` are the pipes that it writes to, of which there may be none left.
    pub fn attach(
        id: WorkerId,
        process: Process,
        link: WorkerLink,
        output: impl IntoIterator<Item = OwnedFd>,
        balancer: &Rc<Balancer>,
        events: &WorkerEvents,
    ) -> io::Result<Worker> {
        let (process, link) = (Rc::new(process), Rc::new(link));
        let last_words = Rc::new(RefCell::new(LastWords::default()));
        let output: Vec<Rc<Output>> =
            output.into_iter().map(|pipe| Output::new(pipe).map(Rc::new)).collect::<io::Result<_>>()?;
        let origin = |stream| Origin { id, pid: process.id(), stream };
        let readers = output.iter().zip(["stdout", "stderr"]);
        let readers =
            readers.map(|(output, stream)| spawn_local(output.clone().read(origin(stream), last_words.clone())));
        let reader = spawn_local(read_link(id, link.clone(), balancer.clone(), events.clone()));
        let readers: Vec<_> = readers.chain([reader]).collect();
        spawn_local(await_end(id, process.clone(), readers, events.clone()));
        let (stats, reported, greeted, told_without_bus, busy_with) = Default::default();
        let (streams_waiting, sending) = Default::default();
        let pid = process.id();
        Ok(Worker {
            pid,
            process,
            link,
            output,
            stats,
            reported,
            last_words,
            greeted,
            told_without_bus,
            busy_with,
            streams_waiting,
            sending,
        })
    }

    /// Sends a message, now or as soon as the worker's socket has room. The waiting ends with the worker.
    pub fn tell(&self, message: ToWorker) {
        match self.link.try_send(&message, &[]) {
            Ok(()) => {}
            Err(error) if error.is_would_block() => self.tell_later(message, None),
            Err(error) => not_sent(&error),
        }
    }

    /// Hands it a stream of relayed requests, as [`Worker::tell`]; closes it if too many wait already.
    pub fn hand_stream(&self, message: ToWorker, stream: OwnedFd) {
        match self.link.try_send(&message, &[stream.as_fd()]) {
            Ok(()) => {}
            Err(error) if error.is_would_block() => {
                if Rc::strong_count(&self.streams_waiting) <= MAX_STREAMS_WAITING {
                    self.tell_later(message, Some((stream, self.streams_waiting.clone())));
                }
            }
            Err(error) => not_sent(&error),
        }
    }

    /// What of its lines has come without their ends.
    pub fn begun_lines(&self) -> Vec<Vec<u8>> {
        self.output.iter().map(|output| output.begun()).collect()
    }

    /// To be held while something is on its way to it.
    pub fn sending(&self) -> Rc<()> {
        self.sending.clone()
    }

    /// Whether nothing waits to be sent to it.
    pub fn has_sent_all(&self) -> bool {
        Rc::strong_count(&self.sending) == 1
    }

    fn tell_later(&self, message: ToWorker, stream: Option<(OwnedFd, Rc<()>)>) {
        let (link, sending) = (self.link.clone(), self.sending());
        spawn_local(async move {
            let _sending = sending;
            let descriptors: Vec<_> = stream.iter().map(|(stream, _)| stream.as_fd()).collect();
            if let Err(error) = link.send(&message, &descriptors).await {
                not_sent(&error);
            }
        });
    }

    /// Signals its process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Signals its process and what that has started.
    pub fn signal_group(&self, signal: Signal) {
        self.process.signal_group(signal);
    }
}

fn not_sent(error: &LinkError) {
    // The worker is gone, most likely, and its end about to be noticed.
    tracing::debug!(%error, "a message to a worker was not sent");
}

async fn read_link(id: WorkerId, link: Rc<WorkerLink>, balancer: Rc<Balancer>, events: WorkerEvents) {
    loop {
        let (message, mut descriptors) = match link.recv().await {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                let reason = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                // Nobody listens any more only when the supervisor itself ends.
                let _ = events.send((id, FromWorker::Broke(format!("failed to {error}{reason}")))).await;
                return;
            }
        };
        match message {
            ToSupervisor::Accepted { id: connection } => balancer.accepted(id, connection),
            ToSupervisor::Closed { id: connection } => balancer.closed(id, connection),
            ToSupervisor::Move { id: connection, to, read } if descriptors.len() == 1 => {
                balancer.moved(id, connection, to, read, descriptors.remove(0));
            }
            // This process had no descriptor left for it.
            ToSupervisor::Move { id: connection, .. } => balancer.closed(id, connection),
            other => drop(events.send((id, FromWorker::Said(other, descriptors))).await),
        }
    }
}

async fn await_end(id: WorkerId, process: Rc<Process>, readers: Vec<JoinHandle<()>>, events: WorkerEvents) {
    let exit = process.ended().await;
    // What it said before it ended is read first: connections it took over are its own, others go elsewhere (design D1).
    let last = async {
        for reader in readers {
            // A panic in a reader was printed when it happened.
            let _ = reader.await;
        }
    };
    if tokio::time::timeout(LAST_WORDS_WAIT, last).await.is_err() {
        tracing::warn!(worker = %id, "a process that the worker started has left its group and still holds its output");
    }
    let _ = events.send((id, FromWorker::Ended(exit))).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs,
        io::Read,
        os::unix::{fs::PermissionsExt, net::UnixStream},
        path::Path,
        thread,
        time::Instant,
    };

    use roomd_wire::{Generation, Slot};
    use tokio::{runtime, task::LocalSet};

    use super::*;
    use crate::config::Config;

    const ID: WorkerId = WorkerId { slot: Slot(0), generation: Generation(1) };

    /// Starts a shell script in place of a worker, and waits for its end: how that was, and what it wrote.
    fn run(script: &str, meanwhile: impl AsyncFnOnce(&Worker)) -> (Exit, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let executable = folder.path().join("worker");
        fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&executable, fs::Permissions::from_mode(0o700)).unwrap();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let balancer = Balancer::new(Config::with_defaults("/nowhere".into(), 1).for_balancer());
            let (events, mut received) = mpsc::channel(8);
            let worker = Program { executable, file: None }.start(ID, &balancer, &events).unwrap();
            meanwhile(&worker).await;
            let ended = tokio::time::timeout(Duration::from_secs(20), received.recv()).await;
            let Ok(Some((ID, FromWorker::Ended(exit)))) = ended else { panic!("{ended:?}") };
            let words = worker.last_words.borrow().lines();
            (exit, words)
        })
    }

    fn is_alive(pid: &str) -> bool {
        // A zombie is only a number: whoever is process 1 here may take its time.
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        stat.is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
    }

    #[test]
    fn its_end_is_told_after_all_that_it_wrote() {
        let (exit, words) = run("echo one; echo two >&2; exit 3", async |_| {});
        assert_eq!(exit, Exit::Code(3));
        assert!(words.contains(&"one".into()) && words.contains(&"two".into()), "{words:?}");
        let (exit, _) = run("kill -SEGV $$", async |_| {});
        assert_eq!(exit, Exit::Signal(11, "SIGSEGV"));
    }

    #[test]
    fn a_line_without_end_is_cut_and_what_follows_is_still_read() {
        let (_, words) = run("head -c 9000 /dev/zero | tr '\\0' x; echo; echo after", async |_| {});
        assert_eq!(words.last().unwrap(), "after");
        assert!(words.iter().all(|line| line.len() <= 500));
    }

    #[test]
    fn what_it_started_ends_with_it_and_does_not_delay_the_news() {
        let begin = Instant::now();
        let (exit, words) = run("sleep 600 & echo $!", async |_| {});
        assert_eq!(exit, Exit::Code(0));
        assert!(begin.elapsed() < LAST_WORDS_WAIT, "its output was held open");
        // Signalled by then; how soon the kernel ends it is not up to us.
        while is_alive(&words[0]) {
            assert!(begin.elapsed() < Duration::from_secs(10), "{words:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn one_that_leaves_the_group_and_holds_the_output_delays_the_news_only_a_little() {
        let (exit, words) = run("setsid sleep 5 & sleep 0.2; echo done", async |_| {});
        assert_eq!((exit, &words[..]), (Exit::Code(0), &["done".to_owned()][..]));
    }

    #[test]
    fn streams_for_a_worker_that_does_not_read_are_closed_past_their_bound() {
        run("sleep 600", async |worker| {
            let message = ToWorker::Relay { from: ID, newcomer: None };
            let mut others = Vec::new();
            for _ in 0..2 * MAX_STREAMS_WAITING {
                let (ours, theirs) = UnixStream::pair().unwrap();
                worker.hand_stream(message.clone(), theirs.into());
                ours.set_nonblocking(true).unwrap();
                others.push(ours);
            }
            let closed = |stream: &UnixStream| (&*stream).read(&mut [0]).is_ok_and(|len| len == 0);
            let count = others.iter().filter(|stream| closed(stream)).count();
            assert!((1..=MAX_STREAMS_WAITING).contains(&count), "{count}");
            assert!(!closed(&others[MAX_STREAMS_WAITING]), "what waits is kept");
            worker.signal_group(Signal::SIGKILL);
        });
    }

    #[test]
    fn a_stopped_process_sees_the_term_when_it_is_followed_by_cont() {
        let script = "trap 'echo left; exit 7' TERM; kill -STOP $$; sleep 600 & wait";
        let (exit, words) = run(script, async |worker| {
            let stopped = async || {
                while !fs::read_to_string(format!("/proc/{}/stat", worker.pid)).unwrap().contains(") T ") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), stopped()).await.unwrap();
            worker.signal_group(Signal::SIGTERM);
            worker.signal_group(Signal::SIGCONT);
        });
        assert_eq!((exit, words.last().unwrap().as_str()), (Exit::Code(7), "left"));
    }
}
