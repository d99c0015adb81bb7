//! What a room gets comes in order with everything else that its members get, and only to its members.

use roomd_wire::WorkerStats;

use super::{Cluster, run};
use crate::{bus::Routing, socketio::App};

fn app() -> App {
    App::new().namespace("/", |namespace| namespace).namespace("/other", |namespace| namespace)
}

#[test]
fn rooms_and_sockets_take_turns() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let worker = &cluster.workers[0];
        let [(one, one_id), (two, two_id), (three, three_id)] = [(); 3].map(|()| cluster.client(0));
        let [first, second, third] = [&one_id, &two_id, &three_id].map(|id| worker.socket(id));
        let say = |room: &str, text: &str| worker.sockets().to(room).emit("said", text).unwrap();
        for socket in [&first, &second] {
            socket.join("a");
        }
        third.join("b");
        second.join("b");

        say("a", "1");
        say("a", "2");
        first.emit("said", "only one").unwrap();
        say("a", "3");
        say("b", "4");
        say("a", "5");
        worker.sockets().emit("said", "6").unwrap();
        worker.sockets().emit("said", "7").unwrap();
        third.join("a");
        say("a", "8");
        second.leave("a");
        say("a", "9");
        say("a", "10");
        worker.sockets().to("a").except("b").emit("said", "11").unwrap();
        say("a", "12");
        first.disconnect(false);
        say("a", "13");
        worker.sockets().emit("said", "14").unwrap();

        let said = |texts: &[&str]| texts.iter().map(|text| format!("2[\"said\",\"{text}\"]")).collect::<Vec<_>>();
        let mut heard = one.received();
        assert_eq!(heard.pop().as_deref(), Some("1"));
        assert_eq!(heard, said(&["1", "2", "only one", "3", "5", "6", "7", "8", "9", "10", "11", "12"]));
        assert_eq!(two.received(), said(&["1", "2", "3", "4", "5", "6", "7", "8", "14"]));
        assert_eq!(three.received(), said(&["4", "6", "7", "8", "9", "10", "12", "13", "14"]));
        let mut stats = WorkerStats::default();
        worker.engine.report(&mut stats);
        assert_eq!(stats.counters.packets_out, 3 + 13 + 9 + 9);
    });
}

#[test]
fn a_session_in_two_namespaces_hears_both_in_order() {
    run(|| async {
        let cluster = Cluster::new(Routing::Exact, 1, app);
        let io = &cluster.workers[0].io;
        let (client, _) = cluster.client(0);
        client.connect("/other");
        for number in 0..6 {
            let namespace = if number % 3 == 2 { "/other" } else { "/" };
            io.of(namespace).unwrap().sockets().emit("n", number).unwrap();
        }
        let expected =
            ["2[\"n\",0]", "2[\"n\",1]", "2/other,[\"n\",2]", "2[\"n\",3]", "2[\"n\",4]", "2/other,[\"n\",5]"];
        assert_eq!(client.received(), expected);
    });
}
