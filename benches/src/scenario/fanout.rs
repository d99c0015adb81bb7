//! Server CPU per delivered message, for rooms of one size.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{frame::client_text, load::Load, process, server::Server};

/// How the messages are offered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Offer {
    /// So many deliveries a second, well below what any server here can do.
    Paced {
        /// Deliveries a second over all rooms.
        deliveries: u64,
    },
    /// As many as come back: so many deliveries are always under way.
    Saturated {
        /// Deliveries under way.
        outstanding: u64,
    },
}

/// One measurement.
pub struct Fanout {
    /// Server CPU per delivered message.
    pub cpu: Duration,
    /// Deliveries a second.
    pub rate: f64,
    /// The bytes of one delivered frame.
    pub sample: Vec<u8>,
}

/// Puts `clients` into rooms of `room_size` and measures for `time`.
pub fn measure(server: &Server, clients: usize, room_size: usize, offer: Offer, time: Duration) -> io::Result<Fanout> {
    let mut rooms = Rooms::join(server, clients, room_size)?;
    rooms.measure(server, "roomMessage", "\"a message of ordinary length, as people write\"", offer, time)
}

/// Clients that are in their rooms.
pub struct Rooms {
    load: Load,
    count: usize,
    size: usize,
}

impl Rooms {
    /// Connects clients and puts them into rooms.
    pub fn join(server: &Server, clients: usize, size: usize) -> io::Result<Rooms> {
        Rooms::join_with(Load::new()?, server, clients, size)
    }

    /// The same with clients that may offer something.
    pub fn join_with(mut load: Load, server: &Server, clients: usize, size: usize) -> io::Result<Rooms> {
        let room_of = |client: usize| client / size;
        load.connect(server.addresses(), clients, room_of)?;
        for client in (0..clients).filter(|_| server.joins_by_event()) {
            let join = format!("42[\"joinRoom\",\"r{}\"]", room_of(client));
            load.send(client, &client_text(&join))?;
            if client % 100 == 0 {
                load.turn(Duration::ZERO)?;
            }
        }
        load.settle()?;
        Ok(Rooms { load, count: clients.div_ceil(size), size })
    }

    /// Measures for `time`. Clients send `event` with their room's name and `payload`, which is JSON; all of the room get one event.
    pub fn measure(
        &mut self,
        server: &Server,
        event: &str,
        payload: &str,
        offer: Offer,
        time: Duration,
    ) -> io::Result<Fanout> {
        let Rooms { load, count, size } = self;
        let events: Vec<Vec<u8>> =
            (0..*count).map(|room| client_text(&format!("42[\"{event}\",\"r{room}\",{payload}]"))).collect();
        run(load, &events, *size, offer, Duration::from_millis(500))?;
        let pids = server.pids();
        let (cpu, delivered, begin) = (process::cpu_time(&pids)?, load.delivered(), Instant::now());
        run(load, &events, *size, offer, time)?;
        let elapsed = begin.elapsed();
        let used = process::cpu_time(&pids)?.saturating_sub(cpu);
        let delivered = load.delivered() - delivered;
        Ok(Fanout {
            cpu: Duration::from_nanos((used.as_nanos() / u128::from(delivered.max(1))) as u64),
            rate: delivered as f64 / elapsed.as_secs_f64(),
            sample: load.sample().unwrap_or_default().to_vec(),
        })
    }
}

/// Sends as offered for a time, then waits until everything has arrived. The sender changes from message to message.
fn run(load: &mut Load, events: &[Vec<u8>], room_size: usize, offer: Offer, time: Duration) -> io::Result<()> {
    let (begin, base) = (Instant::now(), load.delivered());
    let mut sent = 0_u64;
    while begin.elapsed() < time {
        let due = match offer {
            Offer::Paced { deliveries } => {
                (begin.elapsed().as_secs_f64() * deliveries as f64 / room_size as f64) as u64
            }
            Offer::Saturated { outstanding } => {
                let under_way = sent * room_size as u64 - (load.delivered() - base);
                sent + outstanding.saturating_sub(under_way).div_ceil(room_size as u64)
            }
        };
        while sent < due {
            let room = sent as usize % events.len();
            let member = sent as usize / events.len() % room_size;
            load.send(room * room_size + member, &events[room])?;
            sent += 1;
        }
        load.turn(Duration::from_millis(1))?;
    }
    load.await_delivered(base + sent * room_size as u64)
}
