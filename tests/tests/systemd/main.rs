//! roomd under a real systemd, which is process 1 of namespaces of the test's own.
#![allow(clippy::unwrap_used, missing_docs)]

mod adoption;
mod life;
mod operations;
mod sandbox;
mod sockets;
mod takeover;
mod told;

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use roomd_tests::{
    Machine,
    http::{Connection, HANDSHAKE},
};

/// Two workers, a short grace, and ports that the system chooses.
const CONFIG: &str = "\
[cluster]\nworkers = 2\ngrace = \"2s\"\nlisten = \"127.0.0.1:0\"\ncontrol = \"/run/roomd/control.sock\"\n\
[admin]\nlisten = \"127.0.0.1:0\"\n";

/// Connects again and again while something is done: every client must be answered, by whoever serves then.
fn nobody_is_refused(machine: &Machine, meanwhile: impl FnOnce()) -> usize {
    let address = machine.addresses()[0].parse().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut answered = 0;
            while !done.load(Relaxed) {
                let answer = Connection::open(address).get(HANDSHAKE);
                assert_eq!(answer.status, 200, "client {answered}: {answer:?}");
                answered += 1;
            }
            answered
        });
        meanwhile();
        done.store(true, Relaxed);
        clients.join().unwrap()
    })
}
