//! Draws a picture: on a terminal of any size, or as lines of text.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Row as TableRow, Table, Widget as _},
};

use super::{
    columns::{Column, Row},
    header::{self, Silence},
    rates::Picture,
    view::View,
};
use crate::{
    human::{count, duration, printable, rate},
    status::{Death, Status, WorkerState, WorkerStatus},
};

/// How wide what is not for a terminal is.
const PLAIN_WIDTH: u16 = 140;

/// From this width on, what is below the table stands in two columns.
const WIDE: u16 = 110;

/// The last words that are shown of each death.
const WORDS: usize = 3;

const HELP: [&str; 11] = [
    "q, Esc, Ctrl-C   leave",
    "s, right         order by the next column",
    "S, left          order by the one before",
    "r                the other way round",
    "up, down         move through the workers",
    "p, space         stand still, go on",
    "h, ?             this help",
    "",
    "EV, PKT, B: events in, packets out, bytes, each second.",
    "LAG: 99 of 100 times the event loop was not later, lately.",
    "DIED: how often the slot's worker was started again.",
];

/// All that is on the screen.
#[derive(Clone, Copy, Debug)]
pub struct Screen<'a> {
    /// What runs.
    pub picture: &'a Picture,
    /// How it is to be seen.
    pub view: &'a View,
    /// That the supervisor does not answer, if so.
    pub silence: Option<Silence<'a>>,
}

/// Draws on a terminal.
pub fn render(screen: Screen<'_>, area: Rect, buffer: &mut Buffer) {
    let header = header::lines(screen.picture, screen.silence);
    let rows = 1 + screen.picture.status.workers.len() as u16;
    let below = Below::of(&screen.picture.status);
    let heights = heights(area.height, [header.len() as u16, rows, below.height(area.width)]);
    let [top, _, table, _, rest] =
        Layout::vertical([heights[0], 1, heights[1], 1, heights[2]].map(Constraint::Length)).areas(area);
    let bottom = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    Paragraph::new(header).render(top, buffer);
    workers(screen, table, buffer);
    below.render(rest, buffer);
    footer(screen.view).render(bottom, buffer);
    if screen.view.help {
        help(area, buffer);
    }
}

/// How many lines header, table and what is below it get of what they want. The keys have the last one, and one is between two.
fn heights(all: u16, [header, table, below]: [u16; 3]) -> [u16; 3] {
    let header = header.min(all / 2);
    let left = all.saturating_sub(header + 3);
    // The table comes first; but of many workers not all need to be in sight.
    let below = below.min(left.saturating_sub(table).max(if left < 15 { 0 } else { left / 3 }));
    [header, table.min(left - below), below]
}

/// The same as lines of text, as long as it is.
pub fn plain(picture: &Picture) -> String {
    let view = View::default();
    let screen = Screen { picture, view: &view, silence: None };
    let header = header::lines(picture, None);
    let below = Below::of(&picture.status);
    let heights = [header.len() as u16, picture.status.workers.len() as u16 + 1, below.height(PLAIN_WIDTH)];
    let area = Rect::new(0, 0, PLAIN_WIDTH, heights.iter().sum::<u16>() + 2);
    let mut buffer = Buffer::empty(area);
    let [top, _, table, _, rest] =
        Layout::vertical([heights[0], 1, heights[1], 1, heights[2]].map(Constraint::Length)).areas(area);
    Paragraph::new(header).render(top, &mut buffer);
    workers(screen, table, &mut buffer);
    below.render(rest, &mut buffer);
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(PLAIN_WIDTH)) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn workers(Screen { picture, view, .. }: Screen<'_>, area: Rect, buffer: &mut Buffer) {
    let columns = Column::that_fit(area.width);
    let mut rows: Vec<Row<'_>> = picture
        .status
        .workers
        .iter()
        .zip(&picture.workers)
        .zip(&picture.cpu)
        .map(|((worker, rates), cpu)| Row { worker, rates: *rates, cpu: *cpu })
        .collect();
    rows.sort_by(|a, b| match view.reverse {
        false => view.order.order(*a, *b),
        true => view.order.order(*b, *a),
    });
    let in_sight = usize::from(area.height.saturating_sub(1));
    // Nothing is gained by moving past the end.
    let above = view.above.min(rows.len().saturating_sub(in_sight));
    let title = |column: &Column| {
        let title = aligned(*column, column.title().into());
        if *column == view.order { title.add_modifier(Modifier::UNDERLINED) } else { title }
    };
    let header = TableRow::new(columns.iter().map(title)).style(Style::new().bold());
    let lines = rows.iter().skip(above).take(in_sight).map(|row| {
        let cells = columns.iter().map(|column| aligned(*column, column.text(*row)));
        TableRow::new(cells).style(colour(row.worker))
    });
    let widths = columns.iter().map(|column| Constraint::Length(column.width()));
    Table::new(lines, widths).header(header).column_spacing(1).render(area, buffer);
}

fn aligned(column: Column, text: String) -> Line<'static> {
    if column.is_text() { Line::from(text) } else { Line::from(text).right_aligned() }
}

fn colour(worker: &WorkerStatus) -> Style {
    match worker.state {
        WorkerState::Ready if worker.busy_with.is_some() || worker.bus_up == Some(false) => {
            Style::new().fg(Color::Yellow)
        }
        WorkerState::Ready => Style::new(),
        WorkerState::Starting => Style::new().fg(Color::Cyan),
        WorkerState::Draining | WorkerState::Drained => Style::new().fg(Color::Yellow),
        WorkerState::Backoff | WorkerState::Failed => Style::new().fg(Color::Red),
    }
}

/// What is told below the table.
struct Below {
    rooms: Vec<Line<'static>>,
    deaths: Vec<Line<'static>>,
}

impl Below {
    fn of(status: &Status) -> Below {
        Below { rooms: rooms(status), deaths: deaths(status) }
    }

    fn height(&self, width: u16) -> u16 {
        let (rooms, deaths) = (self.rooms.len(), self.deaths.len());
        let height = match (rooms, deaths, width >= WIDE) {
            (0, _, _) | (_, 0, _) => rooms + deaths,
            (_, _, true) => rooms.max(deaths),
            (_, _, false) => rooms + 1 + deaths,
        };
        u16::try_from(height).unwrap_or(u16::MAX)
    }

    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Below { rooms, deaths } = self;
        if rooms.is_empty() || deaths.is_empty() {
            Paragraph::new([rooms, deaths].concat()).render(area, buffer);
        } else if area.width >= WIDE {
            let [left, right] =
                Layout::horizontal([Constraint::Length(52), Constraint::Fill(1)]).spacing(2).areas(area);
            Paragraph::new(rooms).render(left, buffer);
            Paragraph::new(deaths).render(right, buffer);
        } else {
            Paragraph::new([rooms, vec![Line::default()], deaths].concat()).render(area, buffer);
        }
    }
}

/// The rooms that most packets go to.
fn rooms(status: &Status) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = status
        .busiest_rooms
        .iter()
        .map(|room| {
            let name = if room.room.is_empty() { "(everybody)".into() } else { printable(&room.room) };
            let namespace =
                if room.namespace == "/" { String::new() } else { format!(" of {}", printable(&room.namespace)) };
            let (packets, members) = (rate(room.packets_per_s), count(room.members));
            Line::from(format!("{packets:>6} {members:>7}  {name}{namespace}"))
        })
        .collect();
    if !lines.is_empty() {
        lines.insert(0, Line::from(" PKT/s MEMBERS  BUSIEST ROOMS").bold());
    }
    lines
}

/// How the slots' last workers died, the newest first, with their last words.
fn deaths(status: &Status) -> Vec<Line<'static>> {
    let mut deaths: Vec<(&WorkerStatus, &Death)> =
        status.workers.iter().filter_map(|worker| Some((worker, worker.last_death.as_ref()?))).collect();
    // A slot whose old worker drains beside the new one has its last death twice.
    deaths.dedup_by_key(|(worker, _)| worker.slot);
    deaths.sort_by(|(_, a), (_, b)| a.ago_s.total_cmp(&b.ago_s));
    let mut lines = Vec::new();
    for (worker, death) in deaths {
        let (slot, generation, ago) = (worker.slot, death.generation, duration(death.ago_s));
        lines.push(Line::from(format!(
            "slot {slot} generation {generation}, {ago} ago, {}: {}",
            death.cause,
            printable(&death.detail)
        )));
        let words = &death.last_words[death.last_words.len().saturating_sub(WORDS)..];
        lines.extend(words.iter().map(|words| Line::from(format!("  | {}", printable(words))).dim()));
    }
    if !lines.is_empty() {
        lines.insert(0, Line::from("LAST DEATHS").bold());
    }
    lines
}

fn footer(view: &View) -> Line<'static> {
    let direction = if view.reverse { ", reversed" } else { "" };
    let mut spans = vec![
        Span::raw("q leave  h help  p "),
        Span::raw(if view.paused { "go on" } else { "pause" }),
        Span::raw(format!("  s order: {}{direction}", view.order.title())),
    ];
    if view.paused {
        spans.push(Span::raw("  "));
        spans.push(Span::raw(" PAUSED ").reversed());
    }
    Line::from(spans).dim()
}

fn help(area: Rect, buffer: &mut Buffer) {
    let width = HELP.iter().map(|line| line.len() as u16).max().unwrap_or(0) + 4;
    let place = area.centered(Constraint::Max(width), Constraint::Max(HELP.len() as u16 + 2));
    Clear.render(place, buffer);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    Paragraph::new(lines).block(Block::bordered().title(" roomd top ")).render(place, buffer);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::{Terminal, backend::TestBackend};
    use roomd_wire::{Generation, Slot};

    use super::*;
    use crate::{status::sample, top::rates::Meter};

    /// Two looks a second apart, between which the first worker counted.
    fn picture() -> Picture {
        let (mut meter, start, mut status) = (Meter::default(), Instant::now(), sample());
        meter.take(status.clone(), start);
        status.workers[0].counters.events_in += 12_345;
        status.workers[0].counters.bytes_out += 3 << 20;
        status.balancer.accepted += 7;
        status.workers[0].cpu_s = status.workers[0].cpu_s.map(|cpu| cpu + 0.5);
        meter.take(status, start + Duration::from_secs(1))
    }

    fn drawn(picture: &Picture, view: &View, silence: Option<Silence<'_>>, (width, height): (u16, u16)) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let screen = Screen { picture, view, silence };
        terminal.draw(|frame| render(screen, frame.area(), frame.buffer_mut())).unwrap();
        let cells = terminal.backend().buffer().content();
        cells.chunks(usize::from(width)).map(|row| row.iter().map(|cell| cell.symbol()).collect()).collect()
    }

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn eighty_columns_and_twenty_four_lines_hold_all_that_matters() {
        let lines = drawn(&picture(), &View::default(), None, (80, 24));
        let text = lines.join("\n");
        assert_eq!(lines[0].trim_end(), "roomd 0.1.0  running  1 of 2 workers ready  up 1d 1h  pid 42, 4.0M");
        assert_eq!(lines[1].trim_end(), "bus      redis down for 1m 15s  redis://127.0.0.1:6379");
        assert_eq!(lines[3].trim_end(), "each s   12.3k events in  0 packets out  0 bytes in  3.0M out  0 refused");
        assert_eq!(lines[4].trim_end(), "the redis bus has been down for 75 s: connection refused");
        let table = lines.iter().position(|line| line.starts_with("SLOT")).unwrap();
        assert_eq!(
            words(&lines[table]),
            ["SLOT", "GEN", "STATE", "CONNS", "SOCKETS", "EV/s", "PKT/s", "B/s", "LAG", "CPU", "MEM", "DIED"],
        );
        assert_eq!(
            words(&lines[table + 1]),
            ["0", "1", "ready", "3", "2", "12.3k", "0", "3.0M", "2.0ms", "50%", "5.0M", "0"]
        );
        assert_eq!(
            words(&lines[table + 2]),
            ["1", "5", "backoff", "1.5s", "-", "-", "-", "-", "-", "-", "-", "-", "4"]
        );
        assert!(text.contains("slot 1 generation 5, 0.5s ago, crash: exit status 101"), "{text}");
        assert!(text.contains(" PKT/s MEMBERS  BUSIEST ROOMS") && text.contains("    50       3  lobby"), "{text}");
        assert!(text.contains("  | no ·[31mway·[0m") && !text.contains('\u{1b}'), "{text}");
        assert!(lines[23].starts_with("q leave  h help  p pause  s order: SLOT"), "{text}");
    }

    #[test]
    fn a_wide_terminal_has_every_column() {
        let text = drawn(&picture(), &View::default(), None, (160, 40)).join("\n");
        for column in Column::ALL {
            assert!(text.contains(column.title()), "{column:?}");
        }
        assert!(text.contains("crash 0.5s ago"), "{text}");
    }

    #[test]
    fn a_supervisor_that_does_not_answer_is_told_with_since_when_and_why() {
        let silence = Silence { lasts: Duration::from_secs(75), reason: "no cluster runs" };
        let lines = drawn(&picture(), &View::default(), Some(silence), (80, 24));
        assert!(lines[4].starts_with("no answer for 1m 15s: what is shown is older than that; asking again"));
        assert!(lines[5].starts_with("no cluster runs"));
    }

    #[test]
    fn the_order_is_the_views_and_the_help_lies_over_all() {
        let slots = |view: &View| {
            let lines = drawn(&picture(), view, None, (80, 24));
            let table = lines.iter().position(|line| line.starts_with("SLOT")).unwrap();
            [words(&lines[table + 1])[0].to_owned(), words(&lines[table + 2])[0].to_owned()]
        };
        assert_eq!(slots(&View { order: Column::Restarts, ..View::default() }), ["1", "0"]);
        assert_eq!(slots(&View { order: Column::Restarts, reverse: true, ..View::default() }), ["0", "1"]);
        let view = View { help: true, paused: true, ..View::default() };
        let text = drawn(&picture(), &view, None, (80, 24)).join("\n");
        assert!(HELP.iter().all(|line| text.contains(line)) && text.contains(" PAUSED "), "{text}");
    }

    #[test]
    fn more_workers_than_lines_are_moved_through() {
        let mut picture = picture();
        let worker = picture.status.workers[0].clone();
        picture.status.workers = (0..64)
            .map(|slot| WorkerStatus { slot: Slot(slot), generation: Generation(1), ..worker.clone() })
            .collect();
        (picture.workers, picture.cpu) = (vec![None; 64], vec![None; 64]);
        let first = |above| {
            let lines = drawn(&picture, &View { above, ..View::default() }, None, (80, 24));
            let table = lines.iter().position(|line| line.starts_with("SLOT")).unwrap();
            words(&lines[table + 1])[0].to_owned()
        };
        assert_eq!((first(0), first(10)), ("0".into(), "10".into()));
        let last: u16 = first(1000).parse().unwrap();
        assert!((40..60).contains(&last), "the table stays full: {last}");
        assert_eq!(plain(&picture).lines().filter(|line| line.contains(" ready ")).count(), 64 + 1);
    }

    #[test]
    fn no_size_is_too_small_to_be_drawn() {
        let picture = picture();
        let silence = Silence { lasts: Duration::ZERO, reason: "" };
        for size in [(1, 1), (2, 3), (20, 5), (40, 10), (500, 2), (3, 200)] {
            drawn(&picture, &View { help: true, ..View::default() }, Some(silence), size);
        }
    }

    #[test]
    fn as_text_it_has_no_colours_and_no_keys() {
        let text = plain(&picture());
        assert!(text.starts_with("roomd 0.1.0  running") && text.ends_with("  | no ·[31mway·[0m"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("q leave"), "{text}");
    }
}
