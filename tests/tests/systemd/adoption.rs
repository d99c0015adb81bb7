//! Workers that outlive their supervisor, and what their clients see of it.

use std::{net::TcpStream, time::Duration};

use roomd_tests::{Machine, eventually};
use tungstenite::{Message, WebSocket};

use crate::CONFIG;

/// A client of the demo chat, by WebSocket.
struct Chatter(WebSocket<TcpStream>);

impl Chatter {
    fn join(address: &str) -> Chatter {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        let mut chatter = Chatter(socket);
        chatter.await_text("0{");
        chatter.send("40");
        chatter.await_text("40{");
        chatter
    }

    fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// Reads until a message has these words in it.
    fn await_text(&mut self, words: &str) {
        loop {
            let message = self.0.read().unwrap_or_else(|error| panic!("{words}: {error}"));
            let Message::Text(text) = message else { continue };
            match text.as_str() {
                "2" => self.send("3"),
                text if text.contains(words) => return,
                _ => {}
            }
        }
    }
}

/// One in each worker, or nearly: new sessions go to the worker with the fewest.
fn chatters(machine: &Machine) -> Vec<Chatter> {
    let address = machine.addresses().remove(0);
    (0..4).map(|_| Chatter::join(&address)).collect()
}

/// What one says, all hear.
fn talk(chatters: &mut [Chatter], word: &str) {
    chatters[0].send(&format!("42[\"chatMessage\",\"{word}\"]"));
    chatters.iter_mut().for_each(|chatter| chatter.await_text(word));
}

fn user_of(machine: &Machine, process: u64) -> String {
    machine.must(&["stat", "-c", "%u", &format!("/proc/{process}")])
}

#[test]
fn workers_and_their_clients_live_on_when_the_supervisor_dies_or_hangs() {
    let machine = Machine::boot(CONFIG);
    machine.service("WatchdogSec=2s");
    machine.must(&["systemctl", "start", "roomd"]);
    let workers = machine.await_workers(2);
    let user = user_of(&machine, workers[0]);
    let mut chatters = chatters(&machine);
    talk(&mut chatters, "before");
    for (round, (signal, word)) in
        (1..).zip([("-KILL", "after the death"), ("-STOP", "after the hang"), ("-KILL", "again")])
    {
        machine.must(&["kill", signal, &machine.supervisor().to_string()]);
        machine.await_property("NRestarts", &round.to_string());
        machine.await_property("ActiveState", "active");
        assert_eq!(machine.await_workers(2), workers, "{word}: the same processes");
        assert_eq!(
            user_of(&machine, machine.supervisor().into()),
            user,
            "{word}: the same user, so that it may signal them"
        );
        talk(&mut chatters, word);
    }
    // What was taken over is ended like what was started.
    machine.must(&["systemctl", "stop", "roomd"]);
    eventually("no process is left", || machine.processes().is_empty().then_some(()));
}
