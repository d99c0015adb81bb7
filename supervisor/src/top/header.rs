//! What stands above the table: the cluster as a whole.

use std::time::Duration;

use ratatui::{
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
};

use super::rates::Picture;
use crate::{
    human::{bytes, count, duration, milliseconds, percent, printable, rate},
    status::{BusState, ClusterState, Status},
};

/// That the supervisor does not answer.
#[derive(Clone, Copy, Debug)]
pub struct Silence<'a> {
    /// How long ago it last did.
    pub lasts: Duration,
    /// Why, as far as it is known.
    pub reason: &'a str,
}

/// The lines, the most important first.
pub fn lines(picture: &Picture, silence: Option<Silence<'_>>) -> Vec<Line<'static>> {
    let status = &picture.status;
    let mut lines = vec![cluster(status), bus(status), clients(picture), traffic(picture)];
    lines.extend(redis(picture));
    if let Some(Silence { lasts, reason }) = silence {
        let lasts = duration(lasts.as_secs_f64());
        let words = format!("no answer for {lasts}: what is shown is older than that; asking again");
        lines.push(Line::from(words).style(Style::new().fg(Color::Red).bold()));
        lines.push(Line::from(printable(reason)).style(Style::new().fg(Color::Red)));
    } else if let Some(trouble) = trouble(status) {
        lines.push(Line::from(printable(&trouble)).style(Style::new().fg(Color::Red)));
    }
    lines
}

fn cluster(status: &Status) -> Line<'static> {
    let supervisor = &status.supervisor;
    let (ready, wanted) = (status.ready(), usize::from(supervisor.wanted_workers));
    let state = match supervisor.state {
        ClusterState::Running => supervisor.state.as_str().fg(Color::Green),
        _ => supervisor.state.as_str().fg(Color::Yellow),
    };
    let workers = Span::raw(format!("{ready} of {wanted} workers ready"));
    let memory = supervisor.rss_bytes.map_or_else(String::new, |rss| format!(", {}", bytes(rss as f64)));
    Line::from(vec![
        Span::raw(format!("roomd {}  ", supervisor.version)).bold(),
        state,
        Span::raw("  "),
        if ready < wanted { workers.fg(Color::Yellow) } else { workers },
        Span::raw(format!("  up {}  pid {}{memory}", duration(supervisor.uptime_s), supervisor.pid)),
    ])
}

fn bus(status: &Status) -> Line<'static> {
    let bus = &status.bus;
    let up = match bus.state {
        BusState::Up => "up".fg(Color::Green),
        BusState::Down => "down".fg(Color::Red),
    };
    let latency = bus.latency_ms.map_or_else(String::new, |latency| format!(", a message takes {latency:.1} ms"));
    let place = bus.url.as_deref().map_or_else(String::new, |url| format!("  {url}"));
    let words = format!(" for {}{latency}{place}", duration(bus.since_s));
    Line::from(vec![label("bus"), Span::raw(format!("{} ", bus.kind)), up, Span::raw(words)])
}

/// What Redis tells of itself, as far as it does.
fn redis(picture: &Picture) -> Option<Line<'static>> {
    let redis = picture.status.bus.redis.as_ref()?;
    let limit = redis.max_memory_bytes.map_or_else(String::new, |limit| format!(" of {}", bytes(limit as f64)));
    let parts = [
        redis.version.as_deref().map(printable),
        redis.used_memory_bytes.map(|used| format!("memory {}{limit}", bytes(used as f64))),
        redis.connected_clients.map(|clients| format!("{} clients", count(clients))),
        picture.redis.map(|rates| format!("{} commands/s", rate(rates.commands))),
        picture.redis.map(|rates| format!("CPU {}", percent(rates.cpu))),
        redis.answer_s.map(|answer| format!("answers in {}", milliseconds(answer * 1000.0))),
    ];
    let words: Vec<String> = parts.into_iter().flatten().collect();
    Some(Line::from(vec![label("redis"), Span::raw(words.join("  "))]))
}

fn clients(picture: &Picture) -> Line<'static> {
    let workers = &picture.status.workers;
    let (mut sessions, mut sockets, mut rooms) = (0, 0, 0);
    for worker in workers {
        sessions += worker.sessions;
        sockets += worker.sockets;
        rooms += worker.rooms;
    }
    let accepted = picture.accepted.map_or_else(String::new, |accepted| format!(" (+{}/s)", rate(accepted)));
    let open = count(picture.status.balancer.open);
    let (sessions, sockets, rooms) = (count(sessions), count(sockets), count(rooms));
    let figures = format!("{open} connections{accepted}  {sessions} sessions  {sockets} sockets  {rooms} rooms");
    Line::from(vec![label("clients"), Span::raw(figures)])
}

fn traffic(picture: &Picture) -> Line<'static> {
    let figure = |figure: Option<f64>, show: fn(f64) -> String| figure.map_or_else(|| "-".into(), show);
    let total = picture.total;
    let figures = format!(
        "{} events in  {} packets out  {} bytes in  {} out  {} refused",
        figure(total.map(|rates| rates.events_in), rate),
        figure(total.map(|rates| rates.packets_out), rate),
        figure(total.map(|rates| rates.bytes_in), bytes),
        figure(total.map(|rates| rates.bytes_out), bytes),
        figure(picture.refused, rate),
    );
    Line::from(vec![label("each s"), Span::raw(figures)])
}

/// Why not all is well, if so.
fn trouble(status: &Status) -> Option<String> {
    let failed = status.workers.iter().filter_map(|worker| worker.busy_with.as_ref().map(|busy| (worker.slot, busy)));
    let busy = failed.map(|(slot, handler)| format!("slot {slot} is blocked by the handler of {handler}"));
    let all: Vec<String> = status.bus_trouble().into_iter().chain(busy).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn label(text: &'static str) -> Span<'static> {
    Span::raw(format!("{text:<9}")).dim()
}
