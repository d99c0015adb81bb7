//! How clients leave with their worker: evenly spread over the grace, the idle first.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use roomd_tests::{Cluster, Node};
use roomd_wire::SidHome;
use serde_json::{Value, json};

/// A client of the test: how it connects, and whether it says something all the time.
const CLIENTS: [(&str, &str, bool); 12] = [
    // Busy ones first, so that the order in which they come says nothing.
    ("a", "websocket", true),
    ("b", "polling", true),
    ("c", "websocket", true),
    ("d", "polling", true),
    ("e", "websocket", true),
    ("f", "polling", true),
    ("g", "websocket", false),
    ("h", "polling", false),
    ("i", "websocket", false),
    ("j", "polling", false),
    ("k", "websocket", false),
    ("l", "polling", false),
];

fn generation(state: &Value) -> u32 {
    let SidHome { worker, .. } = SidHome::of(state["sid"].as_str().unwrap().as_bytes()).unwrap();
    worker.generation.0
}

#[test]
fn official_clients_leave_one_by_one_the_idle_first_and_each_comes_back_once() {
    let grace = Duration::from_secs(6);
    // Pings are more frequent than what the busy say: they are not to count.
    let config = "[cluster]\ngrace = \"6s\"\n[socketio]\nping_interval = \"200ms\"\n";
    let cluster = Cluster::build(1).program("test_app").config(config).start();
    let mut node = Node::start("clients.mjs", &[]);
    for (name, transport, _) in CLIENTS {
        node.connect(name, &cluster.url(), json!({"transports": [transport]}));
    }
    let mut left: BTreeMap<&str, Instant> = BTreeMap::new();
    thread::scope(|scope| {
        // Those that say nothing are idle for longer than the others by then.
        let reload = scope.spawn(|| {
            thread::sleep(Duration::from_secs(1));
            cluster.run(&["reload"])
        });
        let until = Instant::now() + 4 * grace;
        let mut say_at = Instant::now();
        while left.len() < CLIENTS.len() {
            assert!(Instant::now() < until, "still there: all but {:?}", left.keys());
            let say = Instant::now() >= say_at;
            if say {
                say_at = Instant::now() + Duration::from_millis(400);
            }
            for (name, _, busy) in CLIENTS {
                if say && busy && !left.contains_key(name) {
                    node.emit(name, "word", json!([]));
                }
                let state = node.ask(json!({"do": "state", "name": name}));
                if state["log"].as_array().unwrap().iter().any(|line| line.get("disconnect").is_some()) {
                    left.entry(name).or_insert_with(Instant::now);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        reload.join().unwrap();
    });

    let mut order: Vec<(Instant, bool)> = CLIENTS.iter().map(|(name, _, busy)| (left[name], *busy)).collect();
    order.sort();
    let first = order[0].0;
    let times: Vec<u128> = order.iter().map(|(at, _)| (*at - first).as_millis()).collect();
    let busy: Vec<bool> = order.iter().map(|(_, busy)| *busy).collect();
    assert_eq!(busy, [[false; 6], [true; 6]].concat(), "{times:?}");
    // Eight tenths of the grace are for this; each third of them has its part.
    let mut thirds = [0; 3];
    for (at, _) in &order {
        let part = (*at - first).div_duration_f64(grace.mul_f64(0.8));
        thirds[((part * 3.0) as usize).min(2)] += 1;
    }
    assert!(thirds.iter().all(|count| (2..=6).contains(count)), "{thirds:?}: {times:?}");

    for (name, ..) in CLIENTS {
        let state = node.eventually("it is back", &json!({"do": "state", "name": name}), |state| {
            state["connected"] == true && generation(state) == 2
        });
        let log = state["log"].as_array().unwrap();
        assert!(log.len() == 3 && log[1]["disconnect"] == "transport close", "{name}: {log:?}");
    }
}
