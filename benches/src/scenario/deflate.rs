//! What compression costs and saves: the same rooms with and without it, and the memory of clients that have agreed on it.

use std::{io, time::Duration};

use super::{
    fanout::{Offer, Rooms},
    memory,
};
use crate::{load::Load, server::Server};

/// So many deliveries a second: what is compressed for each recipient must fit, too.
const DELIVERIES: u64 = 4000;
/// Connections of the memory measurement.
const CONNECTIONS: usize = 5000;
const WORDS: [&str; 16] = [
    "the",
    "room",
    "message",
    "of",
    "a",
    "client",
    "and",
    "user",
    "who",
    "writes",
    "something",
    "longer",
    "than",
    "usual",
    "here",
    "today",
];

/// Measures and prints. A room of two has one member on each of two workers, so there every recipient's copy is compressed by itself.
pub fn run(workers: u16, clients: usize, rooms: &[usize], time: Duration) -> io::Result<()> {
    println!(
        "\nserver CPU per delivered message of 2 kB, {clients} clients, {workers} workers, {DELIVERIES} deliveries/s"
    );
    println!("{:>5} {:>12} {:>12} {:>7}", "room", "plain", "compressed", "ratio");
    let text = format!("\"{}\"", text(2000));
    for &room_size in rooms {
        let measure = |server: Server| {
            let mut rooms = Rooms::join_with(Load::offering(true)?, &server, clients, room_size)?;
            rooms.measure(&server, "roomMessage", &text, Offer::Paced { deliveries: DELIVERIES }, time)
        };
        let (plain, compressed) = (measure(Server::roomd(workers)?)?, measure(Server::compressing(workers)?)?);
        let micros = [&plain, &compressed].map(|measured| measured.cpu.as_secs_f64() * 1e6);
        println!("{room_size:>5} {:>9.2} us {:>9.2} us {:>7.2}", micros[0], micros[1], micros[1] / micros[0].max(1e-3));
    }
    println!("\nmemory (PSS over all processes) per idle WebSocket, {CONNECTIONS} connections");
    for compressed in [false, true] {
        let server = if compressed { Server::compressing(workers)? } else { Server::roomd(workers)? };
        let memory = memory::measure(&server, &[CONNECTIONS], true)?;
        println!("{:>12} {:>8.2} KiB", if compressed { "compressed" } else { "plain" }, memory.at[0].1 / 1024.0);
    }
    Ok(())
}

/// Words in an order that does not repeat itself, as far as a compressor sees.
fn text(length: usize) -> String {
    let (mut text, mut state) = (String::new(), 1_u32);
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += WORDS[(state >> 28) as usize];
        text.push(' ');
        if state >> 16 & 3 == 0 {
            text += &(state >> 8).to_string();
        }
    }
    text
}
