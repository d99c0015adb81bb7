//! Server CPU per new connection: connect, upgrade, join the namespace.

use std::{io, time::Duration};

use crate::{load::Load, process, server::Server};

/// Opens and closes `rounds` times `count` connections.
pub fn measure(server: &Server, count: usize, rounds: u32) -> io::Result<Duration> {
    let pids = server.pids();
    let mut load = Load::new()?;
    load.connect(server.addresses(), count, |client| client)?;
    let before = process::cpu_time(&pids)?;
    for _ in 0..rounds {
        drop(load);
        load = Load::new()?;
        load.connect(server.addresses(), count, |client| client)?;
    }
    Ok((process::cpu_time(&pids)?.saturating_sub(before)) / (rounds * count as u32))
}
