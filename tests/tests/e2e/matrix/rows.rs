//! What is tried. A row's name tells the call, and what is special about it.

use serde_json::{Value, json};

use super::{
    payloads::PAYLOADS,
    stage::{CLIENTS, Stage},
};

/// A name, and what is done on the stage. What the clients got is recorded behind it in any case.
pub type Row = (String, Box<dyn Fn(&mut Stage)>);

/// Whom a call can mean: a name, and the target.
fn targets() -> [(&'static str, Value); 9] {
    [
        ("all", json!({})),
        ("a room", json!({"to": ["red"]})),
        ("rooms", json!({"to": ["red", "green"]})),
        ("no member", json!({"to": ["nobody"]})),
        ("except", json!({"except": ["red"]})),
        ("except several", json!({"except": ["red", "green"]})),
        ("rooms except", json!({"to": ["red", "green"], "except": ["shy"]})),
        ("own id", json!({"to": ["<b2>"]})),
        ("except own id", json!({"except": ["<a1>"]})),
    ]
}

/// All of them.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, target) in targets() {
        with_target(&mut rows, name, &target);
    }
    // With little time: see what is allowed.
    with_target(&mut rows, "local", &json!({"local": true, "timeout": 150}));
    with_target(&mut rows, "local rooms", &json!({"local": true, "to": ["red", "green"], "timeout": 150}));
    for (flag, target) in [("volatile", json!({"volatile": true})), ("uncompressed", json!({"compress": false}))] {
        let target_of_ack = target.clone();
        row(&mut rows, format!("emit: {flag}"), move |stage| stage.call("emit", target.clone(), json!(["word", 1])));
        row(&mut rows, format!("emit with ack: {flag}"), move |stage| ask_clients(stage, target_of_ack.clone()));
    }
    for &(name, play) in ROWS {
        row(&mut rows, name.to_owned(), play);
    }
    with_emitter(&mut rows);
    for (name, payload) in PAYLOADS.iter().map(|(name, payload)| (name, payload())) {
        with_payload(&mut rows, name, &payload);
    }
    rows
}

fn row(rows: &mut Vec<Row>, name: String, play: impl Fn(&mut Stage) + 'static) {
    rows.push((name, Box::new(play)));
}

/// Each call that is for some sockets.
fn with_target(rows: &mut Vec<Row>, name: &str, target: &Value) {
    let mut add = |call: &str, play: fn(&mut Stage, Value)| {
        let target = target.clone();
        row(rows, format!("{call}: {name}"), move |stage| play(stage, target.clone()));
    };
    add("emit", |stage, target| stage.call("emit", target, json!(["word", 1, {"two": 2}])));
    add("emit with ack", ask_clients);
    add("fetch", |stage, target| stage.call("fetch", target, json!([])));
    add("join", |stage, target| {
        stage.change();
        stage.call("join", target, json!(["new"]));
        stage.record_rooms();
    });
    add("leave", |stage, target| {
        stage.change();
        stage.call("leave", target, json!(["red"]));
        stage.record_rooms();
    });
    add("disconnect", |stage, target| {
        stage.call("disconnect", target, json!([false]));
        stage.record_rooms();
    });
    add("disconnect and close", |stage, target| stage.call("disconnect", target, json!([true])));
    add("each found: emit", |stage, target| stage.call("each", target, json!(["emit", "word", 1, 2])));
    add("each found: emit with ack", |stage, target| {
        name_answers(stage);
        stage.call("each", target, json!(["emit with ack", "question", 1, 2]));
    });
}

fn name_answers(stage: &mut Stage) {
    for client in CLIENTS {
        stage.client_answers(client, &json!([{"from": client}, "no second answer travels"]));
    }
}

fn all_answer(stage: &mut Stage, args: &Value) {
    CLIENTS.iter().for_each(|client| stage.client_answers(client, args));
}

fn ask_clients(stage: &mut Stage, target: Value) {
    name_answers(stage);
    stage.call("emit with ack", target, json!(["question", 1, {"two": 2}]));
}

/// A row that needs no value of its own.
type PlainRow = (&'static str, fn(&mut Stage));

/// What is tried for one target only.
const ROWS: &[PlainRow] = &[
    ("emit: no argument", |stage| stage.call("emit", json!({}), json!(["word"]))),
    ("emit: in order", |stage| {
        for (number, target) in targets().into_iter().map(|(_, target)| target).enumerate() {
            stage.call("emit", target, json!(["word", number]));
        }
    }),
    ("emit with ack: one is silent", |stage| {
        name_answers(stage);
        stage.client_answers("b1", &Value::Null);
        stage.call("emit with ack", json!({"timeout": 150}), json!(["question"]));
        stage.client_answers("b1", &json!([1]));
    }),
    ("emit with ack: one of the own is silent", |stage| {
        name_answers(stage);
        stage.client_answers("a2", &Value::Null);
        stage.call("emit with ack", json!({"timeout": 150, "except": ["green"]}), json!(["question"]));
        stage.client_answers("a2", &json!([1]));
    }),
    ("emit with ack: all are silent", |stage| {
        all_answer(stage, &Value::Null);
        stage.call("emit with ack", json!({"timeout": 150}), json!(["question"]));
        name_answers(stage);
    }),
    ("emit with ack: answers without arguments", |stage| {
        all_answer(stage, &json!([]));
        stage.call("emit with ack", json!({}), json!(["question"]));
    }),
    ("each found: emit with ack to a silent one", |stage| {
        name_answers(stage);
        stage.client_answers("b1", &Value::Null);
        stage.call("each", json!({"to": ["<b1>"], "timeout": 150}), json!(["emit with ack", "question"]));
        stage.client_answers("b1", &json!([1]));
    }),
    ("each found: join", |stage| {
        stage.change();
        stage.call("each", json!({"to": ["shy"]}), json!(["join", ["new", "newer"]]));
        stage.record_rooms();
    }),
    ("each found: leave", |stage| {
        stage.change();
        stage.call("each", json!({"to": ["shy", "green"]}), json!(["leave", "shy"]));
        stage.record_rooms();
    }),
    ("each found: disconnect", |stage| {
        stage.call("each", json!({"to": ["shy"]}), json!(["disconnect", false]));
        stage.record_rooms();
    }),
    ("each found: disconnect and close", |stage| {
        stage.call("each", json!({"to": ["shy"]}), json!(["disconnect", true]));
    }),
    ("join: several rooms", |stage| {
        stage.change();
        stage.call("join", json!({"to": ["shy"]}), json!([["new", "newer", "red"]]));
        stage.record_rooms();
        stage.call("emit", json!({"to": ["new"]}), json!(["word", "to the new room"]));
        stage.call("fetch", json!({"to": ["newer"], "except": ["green"]}), json!([]));
        stage.call("all rooms", json!({}), json!([]));
    }),
    ("leave: several rooms", |stage| {
        stage.change();
        stage.call("leave", json!({}), json!([["shy", "green", "nobody"]]));
        stage.record_rooms();
        stage.call("emit", json!({"to": ["shy", "red"]}), json!(["word", 1]));
        stage.call("all rooms", json!({}), json!([]));
    }),
    ("leave: the own id", |stage| {
        stage.call("leave", json!({"to": ["<b1>"]}), json!(["green"]));
        stage.record_rooms();
    }),
    ("a room that is a number: reached", |stage| {
        stage.change();
        stage.call("join", json!({"to": ["shy"]}), json!([[42, 1.5]]));
        stage.fence();
        stage.call("emit", json!({"to": [42]}), json!(["word", "to the number"]));
        stage.call("emit", json!({"to": [1.5, "nobody"]}), json!(["word", "to the fraction and a text"]));
        stage.call("emit", json!({"except": [42]}), json!(["word", "except the number"]));
        ask_clients(stage, json!({"to": [42]}));
        stage.call("leave", json!({"to": [42]}), json!([42]));
        stage.fence();
        stage.call("emit", json!({"to": [42]}), json!(["word", "to nobody"]));
        stage.call("disconnect", json!({"to": [1.5], "except": ["red"]}), json!([false]));
    }),
    ("a room that is a number: told", |stage| {
        stage.change();
        stage.call("join", json!({"to": ["shy"]}), json!([42]));
        stage.record_rooms();
        stage.call("fetch", json!({"to": [42]}), json!([]));
        stage.call("all rooms", json!({}), json!([]));
    }),
    ("a room that is a number: its text", |stage| {
        stage.change();
        stage.call("join", json!({"to": ["shy"]}), json!([42]));
        stage.fence();
        stage.call("emit", json!({"to": ["42"]}), json!(["word", 1]));
    }),
    ("join a room whose name is odd", |stage| {
        stage.change();
        let rooms = ["new room # with \"all\" / of\\ it", "ü 🙂", "__proto__"];
        stage.call("join", json!({"to": ["shy"]}), json!([rooms]));
        stage.record_rooms();
        for room in rooms {
            stage.call("emit", json!({"to": [room]}), json!(["word", room]));
        }
        stage.call("all rooms", json!({}), json!([]));
        stage.call("leave", json!({}), json!([rooms]));
    }),
    ("all rooms", |stage| stage.call("all rooms", json!({}), json!([]))),
    ("server emit", |stage| {
        stage.call("server emit", json!({}), json!(["said", "one", {"two": 2}, [3]]));
        stage.record_heard();
    }),
    ("server emit: no argument", |stage| {
        stage.call("server emit", json!({}), json!(["said"]));
        stage.record_heard();
    }),
    ("server emit: nobody listens", |stage| {
        stage.call("server emit", json!({}), json!(["unheard", 1]));
        stage.record_heard();
    }),
    ("server emit with ack", |stage| {
        stage.call("server emit with ack", json!({}), json!(["said", {"two": [1, null]}, 2]));
        stage.record_heard();
    }),
    ("server emit with ack: no argument", |stage| {
        stage.call("server emit with ack", json!({}), json!(["said"]));
        stage.record_heard();
    }),
    ("server emit with ack: no answer", |stage| {
        stage.call("server emit with ack", json!({"timeout": 1000}), json!(["silent", 1]));
        stage.record_heard();
    }),
];

/// What the official emitter does without being a server.
fn with_emitter(rows: &mut Vec<Row>) {
    for (name, target) in targets() {
        let mut add = |call: &str, play: fn(&mut Stage, &Value)| {
            let target = target.clone();
            row(rows, format!("emitter {call}: {name}"), move |stage| play(stage, &target));
        };
        add("emit", |stage, target| {
            stage.emitter(json!({"do": "emit", "target": target, "event": "word", "args": [1, {"$bytes": "AAH/"}]}));
        });
        add("join", |stage, target| {
            stage.change();
            stage.emitter(json!({"do": "join", "target": target, "room": ["new", "newer"]}));
            stage.record_rooms();
        });
        add("leave", |stage, target| {
            stage.change();
            stage.emitter(json!({"do": "leave", "target": target, "room": "red"}));
            stage.record_rooms();
        });
        add("disconnect", |stage, target| {
            stage.emitter(json!({"do": "disconnect", "target": target, "close": false}));
        });
    }
    row(rows, "emitter disconnect and close: a room".to_owned(), |stage| {
        stage.emitter(json!({"do": "disconnect", "target": {"to": ["red"]}, "close": true}));
    });
    row(rows, "emitter server emit".to_owned(), |stage| {
        stage.emitter(json!({"do": "serverEmit", "event": "said", "args": ["one", {"two": 2}]}));
        stage.record_heard();
    });
}

/// Everything a value can travel in.
fn with_payload(rows: &mut Vec<Row>, name: &str, payload: &Value) {
    let mut add = |way: &str, play: fn(&mut Stage, &Value)| {
        let payload = payload.clone();
        row(rows, format!("{way}: payload {name}"), move |stage| play(stage, &payload));
    };
    add("emit", |stage, payload| {
        stage.call("emit", json!({}), json!(["word", payload, {"in": payload}]));
        stage.call("emit", json!({"to": ["green"]}), json!(["word", payload]));
    });
    add("emit with ack", |stage, payload| {
        for client in CLIENTS {
            stage.client_answers(client, &json!([client]));
        }
        stage.call("emit with ack", json!({}), json!(["question", payload]));
    });
    add("answer", |stage, payload| {
        all_answer(stage, &json!([payload, "no second answer travels"]));
        // Two: a packet has ten byte strings at most, also the one that tells the answers.
        stage.call("emit with ack", json!({"to": ["shy"]}), json!(["question"]));
    });
    add("each found: answer", |stage, payload| {
        all_answer(stage, &json!([payload]));
        stage.call("each", json!({"to": ["shy"]}), json!(["emit with ack", "question", payload]));
    });
    add("emitter emit", |stage, payload| {
        stage.emitter(json!({"do": "emit", "event": "word", "args": [payload, {"in": payload}]}));
    });
    if name == "300 KB of bytes" {
        // Servers tell each other of events in JSON, where each byte is a number: that is slow, in Node too.
        return;
    }
    add("server emit", |stage, payload| {
        stage.call("server emit", json!({}), json!(["said", payload, {"in": payload}]));
        stage.record_heard();
    });
    add("server emit with ack", |stage, payload| {
        stage.call("server emit with ack", json!({}), json!(["said", payload]));
        stage.record_heard();
    });
}
