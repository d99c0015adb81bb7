//! The programs in `examples/` do what they say.

use std::fs;

use roomd_tests::{Cluster, Node, eventually, http::Connection};
use serde_json::{Value, json};

/// Opens an example's page in a browser, with the official client.
fn open(browser: &mut Node, tab: &str, cluster: &Cluster, state: &str) {
    browser.ask(json!({"do": "open", "name": tab, "url": cluster.url(), "official": true, "state": state}));
}

fn script(browser: &mut Node, tab: &str, script: &str) -> Value {
    browser.ask(json!({"do": "run", "name": tab, "script": script}))
}

/// Waits for a script in the page to be true.
fn comes_true(browser: &mut Node, tab: &str, what: &str) {
    eventually(&format!("{what} in {tab}"), || (script(browser, tab, what) == json!(true)).then_some(()));
}

fn type_in(browser: &mut Node, tab: &str, selector: &str, text: &str) {
    browser.ask(json!({"do": "fill", "name": tab, "selector": selector, "text": text}));
}

fn send(browser: &mut Node, tab: &str, selector: &str, text: &str) {
    type_in(browser, tab, selector, text);
    browser.ask(json!({"do": "press", "name": tab, "selector": selector, "key": "Enter"}));
}

fn no_errors(browser: &mut Node, tabs: &[&str]) {
    for tab in tabs {
        assert_eq!(browser.ask(json!({"do": "errors", "name": tab})), json!([]), "{tab}");
    }
}

#[test]
fn people_chat_and_see_who_is_there() {
    let cluster = Cluster::build(2).program("examples/chat").start();
    let mut browser = Node::start("page.mjs", &[]);
    let state = |state: &str| format!("document.querySelector('#state').dataset.state === '{state}'");
    for tab in ["ada", "bob"] {
        open(&mut browser, tab, &cluster, "new");
        send(&mut browser, tab, "#log-in input", tab);
        comes_true(&mut browser, tab, &state("connected"));
    }
    let people = "document.querySelector('#people').textContent === 'ada, bob'";
    for tab in ["ada", "bob"] {
        comes_true(&mut browser, tab, people);
    }
    type_in(&mut browser, "ada", "#say input", "hello");
    comes_true(&mut browser, "bob", "document.querySelector('#typing').textContent === 'ada is typing …'");
    browser.ask(json!({"do": "press", "name": "ada", "selector": "#say input", "key": "Enter"}));
    for tab in ["ada", "bob"] {
        comes_true(&mut browser, tab, "document.querySelector('#messages').textContent === 'ada hello'");
    }
    // Its acknowledgement has emptied the field.
    comes_true(&mut browser, "ada", "document.querySelector('#say input').value === ''");
    send(&mut browser, "bob", "#enter input", "garden");
    comes_true(&mut browser, "ada", "document.querySelector('#people').textContent === 'ada'");
    comes_true(&mut browser, "bob", "document.querySelector('#people').textContent === 'bob'");
    // A worker that dies takes nobody along.
    cluster.run(&["kill", "0"]);
    cluster.run(&["kill", "1"]);
    cluster.await_ready();
    send(&mut browser, "ada", "#enter input", "garden");
    for tab in ["ada", "bob"] {
        comes_true(
            &mut browser,
            tab,
            "document.querySelector('#people').textContent.split(', ').sort().join() === 'ada,bob'",
        );
    }
    no_errors(&mut browser, &["ada", "bob"]);
    open(&mut browser, "nobody", &cluster, "new");
    send(&mut browser, "nobody", "#log-in input", " ");
    comes_true(&mut browser, "nobody", &state("refused"));
}

#[test]
fn several_write_one_document_which_outlives_every_worker_and_the_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("document.json");
    let config = format!("[app]\nfile = {file:?}\n");
    let start = || Cluster::build(2).program("examples/document").config(&config).start();
    let texts = |expected: &[&str]| {
        let expected = serde_json::to_string(expected).unwrap();
        format!("JSON.stringify([...document.querySelectorAll('textarea')].map((area) => area.value)) === '{expected}'")
    };
    let mut browser = Node::start("page.mjs", &[]);
    {
        let cluster = start();
        for tab in ["a", "b"] {
            open(&mut browser, tab, &cluster, "connected");
        }
        for (tab, text) in [("a", "one"), ("b", "two")] {
            script(&mut browser, tab, "document.querySelector('#add').click()");
            type_in(&mut browser, tab, "textarea:focus", text);
            for tab in ["a", "b"] {
                comes_true(
                    &mut browser,
                    tab,
                    &format!(
                        "document.body.innerText.length > 0 && [...document.querySelectorAll('textarea')].some((area) => area.value === '{text}')"
                    ),
                );
            }
        }
        // Both in one paragraph, at the same time: both pages end with the same.
        type_in(&mut browser, "a", "textarea >> nth=0", "one from a");
        type_in(&mut browser, "b", "textarea >> nth=0", "one from b");
        let first = "document.querySelector('textarea').value";
        eventually("both pages agree", || {
            let (a, b) = (script(&mut browser, "a", first), script(&mut browser, "b", first));
            (a == b && a.as_str().unwrap().starts_with("one from")).then_some(())
        });
        type_in(&mut browser, "a", "textarea >> nth=0", "one");
        cluster.run(&["reload"]);
        type_in(&mut browser, "b", "textarea >> nth=1", "two, after a reload");
        for tab in ["a", "b"] {
            comes_true(&mut browser, tab, &texts(&["one", "two, after a reload"]));
        }
        eventually("it is kept", || fs::read_to_string(&file).ok()?.contains("after a reload").then_some(()));
        // Copies are those of the workers that lived on, and the file's.
        cluster.run(&["kill", "0"]);
        cluster.run(&["kill", "1"]);
        cluster.await_ready();
        open(&mut browser, "late", &cluster, "connected");
        comes_true(&mut browser, "late", &texts(&["one", "two, after a reload"]));
        no_errors(&mut browser, &["a", "b", "late"]);
    }
    let cluster = start();
    open(&mut browser, "next day", &cluster, "connected");
    comes_true(&mut browser, "next day", &texts(&["one", "two, after a reload"]));
}

#[test]
fn the_game_goes_on_when_the_worker_of_its_loop_dies() {
    let cluster = Cluster::build(2).program("examples/game").start();
    let mut browser = Node::start("page.mjs", &[]);
    for tab in ["left", "right"] {
        open(&mut browser, tab, &cluster, "connected");
        comes_true(&mut browser, tab, "document.querySelector('#field').dataset.step > 0");
    }
    comes_true(&mut browser, "left", "document.querySelector('#field').dataset.players === '2'");
    // The coin lies in the middle, where everybody begins: whoever came first has it.
    comes_true(&mut browser, "left", "document.querySelector('#coins').value > 0");
    let coins = |browser: &mut Node| script(browser, "left", "Number(document.querySelector('#coins').value)");
    let step = |browser: &mut Node| {
        script(browser, "right", "Number(document.querySelector('#field').dataset.step)").as_u64().unwrap()
    };
    let had = coins(&mut browser);
    assert!(had.as_u64().unwrap() > 0);
    browser.ask(json!({"do": "hold", "name": "right", "key": "ArrowLeft"}));
    let before = step(&mut browser);
    let status = cluster.status();
    let leader = status["workers"].as_array().unwrap().iter().find(|worker| worker["leads"] == true);
    cluster.run(&["kill", &leader.unwrap_or_else(|| panic!("nobody leads: {status}"))["slot"].to_string()]);
    eventually("steps after the worker's death, from the last copy on", || {
        let now = step(&mut browser);
        assert!(now + 10 >= before, "the world began anew: {now} after {before}");
        (now > before + 40).then_some(())
    });
    no_errors(&mut browser, &["left", "right"]);
}

#[test]
fn the_dashboard_hears_every_worker() {
    let cluster = Cluster::build(2).program("examples/dashboard").config("[app]\ninterval_ms = 50\n").start();
    assert!(Connection::open(cluster.address()).get("/").body.contains("<h1>Workers</h1>"));
    let mut node = Node::start("clients.mjs", &[]);
    node.connect("page", &cluster.url(), json!({"transports": ["websocket"]}));
    node.eventually("figures of both", &json!({"do": "events", "name": "page", "event": "load"}), |events| {
        let events = events.to_string();
        events.contains("\"worker\":\"0.1\"") && events.contains("\"worker\":\"1.1\"")
    });
}

#[test]
fn notifications_reach_all_pages_of_whom_they_are_for() {
    let cluster = Cluster::build(2).program("examples/notifications").start();
    let mut node = Node::start("clients.mjs", &[]);
    for (name, token) in [("ada 1", "ada"), ("ada 2", "ada"), ("bob", "bob")] {
        let auth = json!({"token": format!("token-of-{token}")});
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"], "auth": auth}));
    }
    let mut connection = Connection::open(cluster.address());
    for (name, body) in [("ada", "{\"title\":\"Lunch\"}"), ("bob", "{\"title\":\"Dinner\"}")] {
        let length = body.len();
        connection.send(format!(
            "POST /notify/{name} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(connection.answer().unwrap().status, 202);
    }
    for (name, title) in [("ada 1", "Lunch"), ("ada 2", "Lunch"), ("bob", "Dinner")] {
        let request = json!({"do": "events", "name": name, "event": "notification"});
        let events = node.eventually("the notification", &request, |events| !events.as_array().unwrap().is_empty());
        assert_eq!(events, json!([[{"title": title, "text": ""}]]));
    }
    for total in [2, 4] {
        assert_eq!(node.ask(json!({"do": "ask", "name": "bob", "event": "read", "args": [2]})), json!(total));
    }
}
