//! A document that several people write at once. Each worker has a copy; a paragraph is whoever wrote it last, and all copies agree
//! on who that was, in whatever order they hear of it.
//!
//! `cargo run --release --example document`, then open <http://127.0.0.1:3000> in two tabs. With `[app]` and `file = "notes.json"`
//! in `cluster.toml` it is kept there.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use axum::{Router, response::Html, routing::get};
use roomd::{Ack, App, Args, Io, RequestError, ServerAck, Socket, State};
use serde::{Deserialize, Serialize};

/// What people can make grow has bounds: bytes of a paragraph and of its name, and their number.
const MAX_TEXT: usize = 10_000;
const MAX_ID: usize = 40;
const MAX_PARAGRAPHS: usize = 500;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Config {
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq)]
struct Paragraph {
    id: String,
    /// Where it stands: by this, then by id. A new one takes a place between its neighbours'.
    place: f64,
    /// Empty once it is deleted.
    text: String,
    /// The later version counts; of two with the same clock, that of the greater author.
    clock: u64,
    by: String,
}

type Paragraphs = BTreeMap<String, Paragraph>;

struct Document {
    paragraphs: RefCell<Paragraphs>,
    clock: Cell<u64>,
    changed: Cell<bool>,
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    roomd::run(async |config: Config| app(config))
}

fn app(config: Config) -> io::Result<App> {
    let document = Document {
        paragraphs: RefCell::default(),
        clock: Cell::default(),
        changed: Cell::default(),
        file: config.file,
    };
    document.read()?;
    let app = App::new()
        .state(document)
        .namespace("/", |namespace| {
            namespace
                .on_connect(async |socket: Socket, document: State<Document>| {
                    socket.join("readers");
                    socket.emit("document", (document.all(),))
                })
                .on("edit", edit)
                .on("cursor", async |socket: Socket, Args(id): Args<String>| {
                    socket.to("readers").volatile().emit("cursor", (socket.id(), id))
                })
                .on_server_side("edit", async |Args(paragraph): Args<Paragraph>, document: State<Document>| {
                    document.merge(paragraph);
                })
                .on_server_side("document", async |document: State<Document>, ack: ServerAck| ack.send(document.all()))
        })
        .on_start(ask_others)
        .once_per_host(keep)
        .on_stop(async |document: State<Document>| document.write())
        .http(|_| Router::new().route("/", get(async || Html(include_str!("document.html")))));
    Ok(app)
}

/// The answer is the paragraph as it is now: somebody else's, if that was later.
async fn edit(
    socket: Socket,
    Args(mut new): Args<Paragraph>,
    document: State<Document>,
    ack: Ack,
) -> Result<(), Box<dyn std::error::Error>> {
    new.by = socket.id().to_owned();
    // Nobody can claim to be from the far future.
    new.clock = new.clock.min(document.clock.get() + 1);
    let id = new.id.clone();
    if document.allows(&new) && document.merge(new.clone()) {
        socket.to("readers").emit("edit", &new)?;
        socket.nsp().server_side_emit("edit", &new)?;
    }
    let now = document.paragraphs.borrow().get(&id).cloned();
    Ok(ack.send(now)?)
}

/// A new worker begins with what the others have.
async fn ask_others(io: Io, document: State<Document>) {
    let Some(namespace) = io.of("/") else { return };
    let copies = namespace.timeout(Duration::from_secs(2)).server_side_emit_with_ack("document", ()).await;
    for copy in copies.unwrap_or_else(RequestError::into_partial).answers.into_iter().flatten() {
        document.merge_all(copy.decode().unwrap_or_default());
    }
}

/// One worker of the host writes the file.
async fn keep(document: State<Document>) -> io::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        document.write()?;
    }
}

impl Document {
    fn all(&self) -> Vec<Paragraph> {
        self.paragraphs.borrow().values().cloned().collect()
    }

    fn allows(&self, new: &Paragraph) -> bool {
        let paragraphs = self.paragraphs.borrow();
        let room = paragraphs.len() < MAX_PARAGRAPHS || paragraphs.contains_key(&new.id);
        room && new.text.len() <= MAX_TEXT && new.id.len() <= MAX_ID && new.place.is_finite()
    }

    /// Takes a version of a paragraph if it is the later one. Says whether it was.
    fn merge(&self, new: Paragraph) -> bool {
        let mut paragraphs = self.paragraphs.borrow_mut();
        let later = paragraphs.get(&new.id).is_none_or(|old| (old.clock, &old.by) < (new.clock, &new.by));
        if later {
            self.clock.set(self.clock.get().max(new.clock));
            self.changed.set(true);
            paragraphs.insert(new.id.clone(), new);
        }
        later
    }

    fn merge_all(&self, paragraphs: Vec<Paragraph>) {
        for paragraph in paragraphs {
            self.merge(paragraph);
        }
    }

    fn read(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        match fs::read(file) {
            Ok(text) => {
                self.merge_all(serde_json::from_slice(&text)?);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Never half a file: it is written beside, then put in place.
    fn write(&self) -> io::Result<()> {
        let Some(file) = self.file.as_deref().filter(|_| self.changed.get()) else { return Ok(()) };
        let beside: &Path = &file.with_extension(format!("{}.new", std::process::id()));
        fs::write(beside, serde_json::to_vec_pretty(&self.all())?)?;
        fs::rename(beside, file)?;
        self.changed.set(false);
        Ok(())
    }
}
