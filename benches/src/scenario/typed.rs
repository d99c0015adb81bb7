//! What types cost: the same messages, read into a struct and written from it, and passed on as they came.

use std::{io, time::Duration};

use super::fanout::{Offer, Rooms};
use crate::server::Server;

/// What a client sends: an object of ordinary size.
const SAID: &str = r#"{"user":"somebody","text":"a message of ordinary length, as people write","at":1234567.5}"#;

/// How often each way has its turn.
const ROUNDS: u32 = 3;

/// Server CPU per delivered message, with types and without, measured by turns with the same clients.
pub fn measure(
    server: &Server,
    clients: usize,
    room_size: usize,
    offer: Offer,
    time: Duration,
) -> io::Result<[Duration; 2]> {
    let mut rooms = Rooms::join(server, clients, room_size)?;
    let mut sums = [Duration::ZERO; 2];
    for _ in 0..ROUNDS {
        for (sum, event) in sums.iter_mut().zip(["typed", "raw"]) {
            *sum += rooms.measure(server, event, SAID, offer, time)?.cpu;
        }
    }
    Ok(sums.map(|sum| sum / ROUNDS))
}
