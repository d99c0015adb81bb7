//! The columns of the table of workers: what stands in them, how wide they are, which give way, and how they order the rows.

use std::cmp::Ordering;

use super::rates::Rates;
use crate::{
    human::{bytes, count, duration, milliseconds, percent, rate},
    status::{WorkerState, WorkerStatus},
};

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// Slot and, in it, generation: the order of the status.
    Slot,
    /// Which run of the slot.
    Generation,
    /// The process.
    Pid,
    /// Where in its life it is.
    State,
    /// Open connections.
    Connections,
    /// Connected sockets.
    Sockets,
    /// Events from clients, each second.
    Events,
    /// Packets to clients, each second.
    Packets,
    /// Bytes from and to clients, each second.
    Bytes,
    /// How late its event loop was lately: 99 of 100 times it was not later.
    Lag,
    /// The part of one core that it uses.
    Cpu,
    /// Resident memory.
    Memory,
    /// How often the slot's worker was started again.
    Restarts,
    /// How long the process has run.
    Uptime,
    /// How the slot's last dead worker died.
    Death,
}

/// A worker as the table shows it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// What is known of it.
    pub worker: &'a WorkerStatus,
    /// What it does each second.
    pub rates: Option<Rates>,
    /// The part of one core that it uses.
    pub cpu: Option<f64>,
}

impl Column {
    /// All, from left to right.
    pub const ALL: [Column; 15] = [
        Column::Slot,
        Column::Generation,
        Column::Pid,
        Column::State,
        Column::Connections,
        Column::Sockets,
        Column::Events,
        Column::Packets,
        Column::Bytes,
        Column::Lag,
        Column::Cpu,
        Column::Memory,
        Column::Restarts,
        Column::Uptime,
        Column::Death,
    ];

    /// Those that give way where there is no room for all, the first first. The last deaths are told below the table too.
    const GIVE_WAY: [Column; 7] =
        [Column::Death, Column::Uptime, Column::Pid, Column::Bytes, Column::Sockets, Column::Generation, Column::Cpu];

    /// Those that there is room for, one cell between two.
    pub fn that_fit(width: u16) -> Vec<Column> {
        let mut columns = Column::ALL.to_vec();
        for gives_way in Column::GIVE_WAY {
            let needed: u16 = columns.iter().map(|column| column.width() + 1).sum();
            if needed <= width + 1 {
                break;
            }
            columns.retain(|column| *column != gives_way);
        }
        columns
    }

    /// What stands above it.
    pub fn title(self) -> &'static str {
        match self {
            Column::Slot => "SLOT",
            Column::Generation => "GEN",
            Column::Pid => "PID",
            Column::State => "STATE",
            Column::Connections => "CONNS",
            Column::Sockets => "SOCKETS",
            Column::Events => "EV/s",
            Column::Packets => "PKT/s",
            Column::Bytes => "B/s",
            Column::Lag => "LAG",
            Column::Cpu => "CPU",
            Column::Memory => "MEM",
            Column::Restarts => "DIED",
            Column::Uptime => "UPTIME",
            Column::Death => "LAST DEATH",
        }
    }

    /// How many cells it takes.
    pub fn width(self) -> u16 {
        match self {
            Column::Slot => 4,
            Column::Generation => 4,
            Column::Pid => 7,
            Column::State => 12,
            Column::Connections => 5,
            Column::Sockets => 7,
            Column::Events => 6,
            Column::Packets => 6,
            Column::Bytes => 6,
            Column::Lag => 6,
            Column::Cpu => 4,
            Column::Memory => 5,
            Column::Restarts => 4,
            Column::Uptime => 7,
            Column::Death => 24,
        }
    }

    /// Whether it is read from the left; figures are read from the right.
    pub fn is_text(self) -> bool {
        matches!(self, Column::State | Column::Death)
    }

    /// What stands in it.
    pub fn text(self, row: Row<'_>) -> String {
        let Row { worker, rates, cpu } = row;
        let if_lives = |text: String| if worker.pid.is_some() { text } else { "-".into() };
        let if_known = |figure: Option<f64>, show: fn(f64) -> String| figure.map_or_else(|| "-".into(), show);
        match self {
            Column::Slot => worker.slot.to_string(),
            Column::Generation => worker.generation.to_string(),
            Column::Pid => worker.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
            Column::State => state(worker),
            Column::Connections => if_lives(count(worker.connections)),
            Column::Sockets => if_lives(count(worker.sockets)),
            Column::Events => if_known(rates.map(|rates| rates.events_in), rate),
            Column::Packets => if_known(rates.map(|rates| rates.packets_out), rate),
            Column::Bytes => if_known(rates.map(|rates| rates.bytes_in + rates.bytes_out), bytes),
            Column::Lag => if_known(worker.lag.p99_ms, milliseconds),
            Column::Cpu => if_known(cpu, percent),
            Column::Memory => if_lives(bytes(worker.rss_bytes as f64)),
            Column::Restarts => count(worker.restarts),
            Column::Uptime => if_lives(duration(worker.uptime_s)),
            Column::Death => worker
                .last_death
                .as_ref()
                .map_or_else(String::new, |death| format!("{} {} ago", death.cause, duration(death.ago_s))),
        }
    }

    /// How two rows stand to each other; of figures the larger comes first.
    pub fn order(self, a: Row<'_>, b: Row<'_>) -> Ordering {
        let by_place = |row: Row<'_>| (row.worker.slot, row.worker.generation);
        let descending = |of: &dyn Fn(Row<'_>) -> f64| of(b).total_cmp(&of(a));
        let ordered = match self {
            Column::Slot => Ordering::Equal,
            Column::Generation => b.worker.generation.cmp(&a.worker.generation),
            Column::Pid => a.worker.pid.cmp(&b.worker.pid),
            Column::State => a.worker.state.cmp(&b.worker.state).reverse(),
            Column::Connections => b.worker.connections.cmp(&a.worker.connections),
            Column::Sockets => b.worker.sockets.cmp(&a.worker.sockets),
            Column::Events => descending(&|row| row.rates.map_or(-1.0, |rates| rates.events_in)),
            Column::Packets => descending(&|row| row.rates.map_or(-1.0, |rates| rates.packets_out)),
            Column::Bytes => descending(&|row| row.rates.map_or(-1.0, |rates| rates.bytes_in + rates.bytes_out)),
            Column::Lag => descending(&|row| row.worker.lag.p99_ms.unwrap_or(-1.0)),
            Column::Cpu => descending(&|row| row.cpu.unwrap_or(-1.0)),
            Column::Memory => b.worker.rss_bytes.cmp(&a.worker.rss_bytes),
            Column::Restarts => b.worker.restarts.cmp(&a.worker.restarts),
            Column::Uptime => descending(&|row| row.worker.uptime_s),
            // Those that died last first, those that never did last.
            Column::Death => {
                let ago = |row: Row<'_>| row.worker.last_death.as_ref().map_or(f64::INFINITY, |death| death.ago_s);
                ago(a).total_cmp(&ago(b))
            }
        };
        ordered.then_with(|| by_place(a).cmp(&by_place(b)))
    }
}

fn state(worker: &WorkerStatus) -> String {
    match (worker.state, worker.retry_in_s) {
        (WorkerState::Backoff, Some(seconds)) => format!("backoff {}", duration(seconds)),
        (state, _) if worker.busy_with.is_some() => format!("{state} BUSY"),
        (state, _) if worker.bus_up == Some(false) => format!("{state} no bus"),
        (state, _) => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn narrow_terminals_keep_what_matters_and_nothing_is_cut() {
        for width in 60..200 {
            let columns = Column::that_fit(width);
            let needed: u16 = columns.iter().map(|column| column.width() + 1).sum::<u16>() - 1;
            assert!(needed <= width, "{width}: {needed}");
            for kept in [Column::Slot, Column::State, Column::Connections, Column::Events, Column::Packets] {
                assert!(columns.contains(&kept), "{width}: {kept:?}");
            }
        }
        assert_eq!(Column::that_fit(200), Column::ALL);
        for column in Column::ALL {
            assert!(column.title().len() <= usize::from(column.width()), "{column:?}");
        }
    }

    #[test]
    fn every_column_orders_all_rows_in_one_way() {
        let status = sample();
        let rates = [Some(Rates { events_in: 5.0, ..Rates::default() }), None];
        let rows: Vec<Row<'_>> =
            status.workers.iter().zip(rates).map(|(worker, rates)| Row { worker, rates, cpu: None }).collect();
        for column in Column::ALL {
            assert_eq!(column.order(rows[0], rows[1]), column.order(rows[1], rows[0]).reverse(), "{column:?}");
            assert_ne!(column.order(rows[0], rows[1]), Ordering::Equal, "{column:?}");
        }
        assert_eq!(Column::Events.order(rows[0], rows[1]), Ordering::Less, "what is not known comes last");
        assert_eq!(Column::Death.order(rows[1], rows[0]), Ordering::Less);
        assert_eq!(Column::Restarts.order(rows[1], rows[0]), Ordering::Less);
    }
}
