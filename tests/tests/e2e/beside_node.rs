//! One application, written for the official server and for roomd, with the same official clients: what these see and what the
//! application sees is to be the same. Where it may differ is in `ALLOWED`, line by line.

use std::{fs, time::Duration};

use roomd_tests::{Cluster, Node};
use serde_json::{Value, json};

/// What differs in a scenario: its name, the reason, what only the official server's side sees, and what only ours sees.
type Allowed = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const ALLOWED: &[Allowed] = &[
    (
        "leaving the own room",
        "a socket's id is the way to it, for this server's own messages, too",
        &[r#"a: ["answer to do",[false]]"#, r#"server: ["disconnecting","a","client namespace disconnect",[false]]"#],
        &[
            r#"a: ["answer to do",[true]]"#,
            r#"a: ["event","to the own room",1]"#,
            r#"server: ["disconnecting","a","client namespace disconnect",[true]]"#,
        ],
    ),
    (
        "events of rooms that are joined in middleware",
        "who is not let in is in no room: the rooms are joined behind that of the own id",
        &[
            r#"server: ["create-room","early"]"#,
            r#"server: ["join-room","early","a"]"#,
            r#"server: ["leave-room","early","a"]"#,
            r#"server: ["delete-room","early"]"#,
        ],
        &[
            r#"server: ["create-room","early"]"#,
            r#"server: ["join-room","early","a"]"#,
            r#"server: ["leave-room","early","a"]"#,
            r#"server: ["delete-room","early"]"#,
        ],
    ),
    (
        "events of rooms that are joined in middleware that refuses",
        "who is not let in is in no room",
        &[
            r#"server: ["create-room","early"]"#,
            r#"server: ["join-room","early","an id"]"#,
            r#"server: ["leave-room","early","an id"]"#,
            r#"server: ["delete-room","early"]"#,
        ],
        &[],
    ),
    (
        "values with no JSON form, or an odd one",
        "Rust writes the sign of zero, which JSON has",
        &[r#"a: ["event","negative",0]"#],
        &[r#"a: ["event","negative",{"$js":"-0"}]"#],
    ),
    (
        "middleware of packets that refuses a question",
        "whoever waits for an answer is told; Node tells the server's own `error` listener",
        &[r#"a: ["no answer","in time"]"#],
        &[r#"a: ["answer to refused",{"error":"not this one"}]"#],
    ),
    (
        "middleware of packets that sends the client away",
        "nothing of a client that has gone is judged, as nothing of it is handled",
        &[r#"server: ["second middleware","leaves",1]"#],
        &[],
    ),
    (
        "events behind one that waits in middleware",
        "a client's events keep their order",
        &[
            r#"a: ["event","answered","slow"]"#,
            r#"server: ["second middleware","slow",1]"#,
            r#"server: ["handler","slow"]"#,
        ],
        &[
            r#"a: ["event","answered","slow"]"#,
            r#"server: ["second middleware","slow",1]"#,
            r#"server: ["handler","slow"]"#,
        ],
    ),
    (
        "the handshake, by its accessors and from afar",
        "`header` is the first of several: `headers` has them all",
        &[r#"handshake: ["one",["A Value","a=1; b=2","http://a.example","UPPER","one, two"]]"#],
        &[r#"handshake: ["one",["A Value","a=1; b=2","http://a.example","UPPER","one"]]"#],
    ),
    (
        "values from clients and back",
        "a text in Rust has no halves of characters, and a `serde_json::Value` no bytes; as `Data` both pass",
        &[
            r#"a: ["answer to typed","\ud83d"]"#,
            r#"a: ["answer to typed","\ude00\ud83d"]"#,
            r#"a: ["answer to typed",{"$bytes":"AQI="}]"#,
            r#"a: ["answer to typed",[{"$bytes":""},{"b":{"$bytes":"eA=="}}]]"#,
            r#"a: ["answer to typed",{"$bytes":"CQ=="}]"#,
        ],
        &[
            r#"a: ["answer to typed",{"error":"the event's arguments are of the wrong shape: unexpected end of hex escape at line 1 column 8"}]"#,
            r#"a: ["answer to typed",{"error":"the event's arguments are of the wrong shape: lone leading surrogate in hex escape at line 1 column 7"}]"#,
            r#"a: ["answer to typed",{"_placeholder":true,"num":0}]"#,
            r#"a: ["answer to typed",[{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]]"#,
            r#"a: ["answer to typed",{"_placeholder":true,"num":0}]"#,
        ],
    ),
    (
        "reserved names",
        "it would end every Node server on the bus that has no listener for it",
        &[r#"error: ["server side","done"]"#],
        &[r#"error: ["server side","refused"]"#],
    ),
    (
        "a socket that is kept and has gone",
        "what is kept with a socket goes with it",
        &[r#"b: ["answer to do",[false,[false],"kept"]]"#],
        &[r#"b: ["answer to do",[false,[false],null]]"#],
    ),
];

#[test]
fn an_application_and_its_clients_see_the_same() {
    let mut official = Node::start("application.mjs", &[]);
    let port = official.line()["port"].as_u64().unwrap();
    let config = "[cluster]\ngrace = \"1s\"\n[socketio]\nping_interval = \"60s\"\nconnect_timeout = \"1s\"\n";
    // One worker: as there, the log and the rooms are those of one server.
    let mut ours = Cluster::build(1).program("beside_app").config(config).start();
    let mut driver = Node::start("scenarios.mjs", &[&format!("http://127.0.0.1:{port}"), &ours.url()]);
    let mut report = String::new();
    let mut played = Vec::new();
    loop {
        let line = driver.line();
        if line["stop"] == true {
            let ends = official.ask(json!({"do": "stop"}));
            ours.run(&["stop"]);
            assert!(ours.await_end(Duration::from_secs(20)).success());
            let file = fs::read_to_string(ours.folder().join("seen at the end")).unwrap();
            let [expected, actual] = [ends, serde_json::from_str(&file).unwrap()].map(|log| reasons(&log));
            assert_eq!(expected.len(), 3, "{expected:?}");
            report += &differences("the server stops, as its application sees it", expected, actual);
            continue;
        }
        let Some(name) = line["name"].as_str() else { break };
        let [expected, actual] = [0, 1].map(|server| {
            let lines = line["seen"][server].as_array().unwrap().iter();
            lines.map(|line| line.as_str().unwrap().to_owned()).collect()
        });
        report += &differences(name, expected, actual);
        played.push(name.to_owned());
    }
    for (name, ..) in ALLOWED.iter().filter(|(name, ..)| !played.iter().any(|played| name.starts_with(played))) {
        report += &format!("\n{name}\n  is in the list, and is no scenario\n");
    }
    assert!(report.is_empty(), "- is what is seen at the official server, + at ours:\n{report}");
}

/// Why sockets have left.
fn reasons(log: &Value) -> Vec<String> {
    let lines = log.as_array().unwrap().iter().filter(|line| line[0] == "disconnect");
    lines.map(|line| line[2].to_string()).collect()
}

/// What differs and is not allowed to; or is, and does not.
fn differences(name: &str, mut expected: Vec<String>, mut actual: Vec<String>) -> String {
    let mut report = String::new();
    for (_, reason, there, here) in ALLOWED.iter().filter(|allowed| allowed.0 == name) {
        for (seen, allowed) in [(&mut expected, there), (&mut actual, here)] {
            for allowed in *allowed {
                match seen.iter().position(|line| line == allowed) {
                    Some(at) => drop(seen.remove(at)),
                    None => report += &format!("  is not seen any more: {allowed} ({reason})\n"),
                }
            }
        }
    }
    if expected != actual {
        let only = |these: &[String], those: &[String], sign| -> String {
            let count = |lines: &[String], line: &String| lines.iter().filter(|&other| other == line).count();
            let lines = these.iter().filter(|line| count(these, line) != count(those, line));
            lines.map(|line| format!("  {sign} {line}\n")).collect()
        };
        let (there, here) = (only(&expected, &actual, '-'), only(&actual, &expected, '+'));
        report += &if there.is_empty() && here.is_empty() {
            let first = expected.iter().zip(&actual).position(|(there, here)| there != here).unwrap_or_default();
            format!("  the order differs, first here:\n  - {}\n  + {}\n", expected[first], actual[first])
        } else {
            there + &here
        };
    }
    if report.is_empty() { report } else { format!("\n{name}\n{report}") }
}
