//! From tracing's events to the sink.

use std::{
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write as _,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};
use tracing_log::{AsLog as _, NormalizeEvent as _};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use super::{
    limiter::{Cause, LeftOut, Limiter},
    record::{Collect, MARK, Record},
};

/// Lines of one cause in an interval, unless [`set_lines_per_cause`] says otherwise.
const LINES_PER_CAUSE: u32 = 10;

/// Who did what, which should be there as far as it goes.
const AUDIT: &str = "::audit";

/// Of debug and trace lines, which are there for whoever looks for something, and of [`AUDIT`] so many times more.
const DETAIL_FACTOR: u32 = 10;

/// Fields that keep causes apart: what is said of one worker must not push out what is said of another.
const IDENTITY: [&str; 4] = ["worker", "slot", "command", "outcome"];

/// Lines that could not be written since nobody read them.
static LOST: AtomicU64 = AtomicU64::new(0);
static STATE: OnceLock<State> = OnceLock::new();

struct State {
    filter: reload::Handle<EnvFilter, Registry>,
    limiter: Mutex<Limiter>,
    lines_per_cause: AtomicU32,
    sink: Box<dyn Fn(Record) + Send + Sync>,
}

/// Starts logging in this process: what passes the filter goes to the sink. A second start keeps the first.
///
/// # Errors
/// The filter is none, and why.
pub fn start(filter: &str, sink: impl Fn(Record) + Send + Sync + 'static) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let (filter, handle) = reload::Layer::new(filter);
    let state = State {
        filter: handle,
        limiter: Mutex::default(),
        lines_per_cause: LINES_PER_CAUSE.into(),
        sink: Box::new(sink),
    };
    if STATE.set(state).is_ok() {
        // Another subscriber, as of an application's own, stays.
        let _ = tracing_subscriber::registry().with(filter).with(ToSink).try_init();
    }
    Ok(())
}

/// Another filter, from now on.
///
/// # Errors
/// It is none, and why; the old one stays.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let new = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    if let Some(state) = STATE.get() {
        state.filter.reload(new).map_err(|error| error.to_string())?;
        // What comes by the `log` crate is filtered before it is asked for.
        tracing_log::log::set_max_level(LevelFilter::current().as_log());
    }
    Ok(())
}

/// How many lines of one cause are written in an [`INTERVAL`](super::INTERVAL); with 0 all are.
pub fn set_lines_per_cause(lines: u32) {
    if let Some(state) = STATE.get() {
        state.lines_per_cause.store(lines, Relaxed);
    }
}

/// How many lines were left out, and lost, since the start.
pub fn suppressed() -> u64 {
    LOST.load(Relaxed) + STATE.get().map_or(0, |state| state.limiter().total())
}

/// Tells how many lines were left out where that is due. To be called about once a second.
pub fn tick() {
    if let Some(state) = STATE.get() {
        let due = state.limiter().due(Instant::now());
        state.tell(due);
    }
}

/// Tells what has not been told: for the end of the process.
pub fn finish() {
    if let Some(state) = STATE.get() {
        let all = state.limiter().all();
        state.tell(all);
    }
}

/// The sink of a worker: a marked line of JSON to standard error. A line that nobody takes is lost, so that a supervisor that is
/// stopped does not stop its workers too.
pub fn write_record(record: Record) {
    let line = format!("{MARK}{}\n", record.to_json());
    let mut output = std::io::stderr().lock();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let writable =
        poll(&mut [PollFd::new(&std::io::stderr(), PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0);
    if !writable || output.write_all(line.as_bytes()).is_err() {
        LOST.fetch_add(1, Relaxed);
    }
}

impl State {
    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, left_out: Vec<LeftOut>) {
        for LeftOut { cause: Cause { level, target, message }, count } in left_out {
            let mut record = Record::now(level, &target, format!("… {count} more like this suppressed: {message}"));
            record.fields.insert("suppressed".into(), count.into());
            (self.sink)(record);
        }
    }

    fn admits(&self, event: &Event<'_>, level: Level, target: &str) -> bool {
        let limit = match self.lines_per_cause.load(Relaxed) {
            0 => return true,
            lines if level > Level::INFO || target.ends_with(AUDIT) => lines.saturating_mul(DETAIL_FACTOR),
            lines => lines,
        };
        let mut cause = Identity(DefaultHasher::new());
        event.metadata().callsite().hash(&mut cause.0);
        // All that comes by the `log` crate has one place in the program for each level.
        target.hash(&mut cause.0);
        event.record(&mut cause);
        self.limiter().admit(cause.0.finish(), limit, Instant::now(), || {
            let mut message = String::new();
            event.record(&mut Collect::new(&mut message, &mut Map::new()));
            Cause { level, target: target.to_owned(), message }
        })
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Map<String, Value>);

struct ToSink;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToSink {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Map::new();
            attributes.record(&mut Collect::new(&mut String::new(), &mut fields));
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Collect::new(&mut String::new(), fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(state) = STATE.get() else { return };
        let normal = event.normalized_metadata();
        let (level, target) = normal
            .as_ref()
            .map_or((*event.metadata().level(), event.metadata().target()), |it| (*it.level(), it.target()));
        if !state.admits(event, level, target) {
            return;
        }
        let mut record = Record::now(level, target, String::new());
        event.record(&mut Collect::new(&mut record.message, &mut record.fields));
        let mut spans = String::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            let _ = write!(spans, "{}{}", if spans.is_empty() { "" } else { ":" }, span.name());
            if let Some(SpanFields(fields)) = span.extensions().get() {
                for (key, value) in fields {
                    record.fields.entry(key.as_str()).or_insert_with(|| value.clone());
                }
            }
        }
        if !spans.is_empty() {
            record.fields.entry("spans").or_insert(spans.into());
        }
        (state.sink)(record);
    }
}

/// Hashes what keeps causes apart.
struct Identity(DefaultHasher);

impl Visit for Identity {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if IDENTITY.contains(&field.name()) {
            let _ = write!(self, "{value:?}");
        }
    }
}

impl fmt::Write for Identity {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
