//! Memory per idle connection.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{load::Load, process, server::Server};

/// Bytes of PSS over all processes per idle connection.
pub struct Memory {
    /// With that many connections open.
    pub at: Vec<(usize, f64)>,
    /// With the last number open again after all had gone and come back.
    pub after_churn: f64,
}

/// Opens connections step by step, which offer compression if `deflate`, then closes all and opens them again a few times.
pub fn measure(server: &Server, steps: &[usize], deflate: bool) -> io::Result<Memory> {
    let pids = server.pids();
    let empty = process::pss_bytes(&pids)?;
    let per_connection = |connections: usize| -> io::Result<f64> {
        Ok(process::pss_bytes(&pids)?.saturating_sub(empty) as f64 / connections as f64)
    };
    let mut at = Vec::new();
    let mut load = Load::offering(deflate)?;
    for &connections in steps {
        load.connect(server.addresses(), connections - load.len(), |client| client)?;
        load.settle()?;
        at.push((connections, per_connection(connections)?));
    }
    let most = load.len();
    for _ in 0..3 {
        drop(load);
        load = Load::offering(deflate)?;
        load.connect(server.addresses(), most, |client| client)?;
    }
    // The workers give memory back some seconds after many clients have left.
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        load.turn(Duration::from_millis(100))?;
    }
    Ok(Memory { at, after_churn: per_connection(most)? })
}
