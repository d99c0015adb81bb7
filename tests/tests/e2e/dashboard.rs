//! The dashboard on the admin listener, in a real browser.

use std::process::Command;

use nix::sys::signal::Signal;
use roomd_tests::{Cluster, Node, RedisServer, eventually, http::Connection};
use serde_json::{Value, json};

/// A browser with the cluster's dashboard in a tab called `page`.
fn opened(cluster: &Cluster, path: &str) -> Node {
    let mut browser = Node::start("dashboard.mjs", &[]);
    browser.ask(json!({"do": "open", "name": "page", "url": format!("http://{}{path}", cluster.admin())}));
    browser
}

fn sees(browser: &mut Node, selector: &str, text: &str) {
    browser.ask(json!({"do": "sees", "name": "page", "selector": selector, "text": text}));
}

fn text(browser: &mut Node, selector: &str) -> String {
    browser.ask(json!({"do": "text", "name": "page", "selector": selector})).as_str().unwrap().to_owned()
}

fn run(browser: &mut Node, script: &str) -> Value {
    browser.ask(json!({"do": "run", "name": "page", "script": script}))
}

/// The figure of a tile.
fn tile(browser: &mut Node, name: &str) -> String {
    text(browser, &format!("#tiles div:has(dt:text-is('{name}')) dd"))
}

#[test]
fn figures_live_as_clients_come_and_emit_and_a_killed_worker_is_shown_with_its_cause() {
    let cluster = Cluster::start(2);
    let mut browser = opened(&cluster, "/");
    sees(&mut browser, "#state", "running");
    sees(&mut browser, "#tiles div:has(dt:text-is('Workers ready'))", "2 of 2");
    assert_eq!(tile(&mut browser, "Connections"), "0");

    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b", "c"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
    }
    eventually("three connections and their events are on the page", || {
        for name in ["a", "b", "c"] {
            node.emit(name, "nothing", json!(["x"]));
        }
        let counted = tile(&mut browser, "Connections") == "3" && tile(&mut browser, "Sockets") == "3";
        (counted && tile(&mut browser, "Events in /s").parse::<f64>().is_ok_and(|rate| rate > 0.0)).then_some(())
    });
    // The charts have lines, and tell what is newest in words too.
    let label = "document.querySelector('figure svg').getAttribute('aria-label')";
    eventually("the chart says so", || {
        run(&mut browser, label)
            .as_str()
            .unwrap()
            .starts_with("Connections and sockets, now: connections 3, sockets 3")
            .then_some(())
    });
    eventually("the chart has a line", || {
        let longest =
            "Math.max(...[...document.querySelectorAll('path.curve')].map((path) => path.getAttribute('d').length))";
        (run(&mut browser, longest).as_f64() > Some(40.0)).then_some(())
    });

    cluster.run(&["kill", "1"]);
    sees(&mut browser, "#deaths li", "slot 1, generation 1");
    let death = text(&mut browser, "#deaths li");
    assert!(death.starts_with("kill") && death.contains("signal KILL") && death.contains("ago"), "{death}");
    sees(&mut browser, "#workers tr:has(th:text-is('1'))", "1 kill");
    assert!(run(&mut browser, "document.querySelectorAll('line.death').length").as_u64() > Some(0));
    cluster.run(&["reload"]);
    sees(&mut browser, "#workers tr:has(th:text-is('0')) td:nth-child(2)", "2");
    // No rate was ever below zero or nonsense.
    let rates = run(
        &mut browser,
        "[...document.querySelectorAll('#workers td, dd, .legend b')].map((cell) => cell.textContent)",
    );
    let odd =
        |text: &&Value| ["NaN", "undefined", "Infinity", "-"].iter().any(|odd| text.as_str().unwrap().contains(odd));
    assert_eq!(rates.as_array().unwrap().iter().find(odd), None);
    assert_eq!(browser.ask(json!({"do": "errors", "name": "page"})), json!([]));
}

#[test]
fn it_says_what_is_wrong_and_since_when_nobody_answers() {
    let cluster = Cluster::build(1).start();
    let mut browser = opened(&cluster, "/dashboard");
    sees(&mut browser, "#state", "running");
    assert_eq!(run(&mut browser, "document.getElementById('banner').hidden"), true);
    // Its words are those of /readyz.
    let worker = cluster.worker_pids()[0];
    Command::new("kill").args(["-STOP", &worker.to_string()]).status().unwrap();
    cluster.signal(Signal::SIGSTOP);
    sees(&mut browser, "#banner", "The supervisor does not answer (it takes too long), the last answer came");
    sees(&mut browser, "#state", "no answer");
    cluster.signal(Signal::SIGCONT);
    // Nobody heard its heart beat.
    sees(&mut browser, "#deaths li", "hang");
    sees(&mut browser, "#state", "running");
    cluster.await_ready();
    eventually("all is well again", || {
        (run(&mut browser, "document.getElementById('banner').hidden") == true).then_some(())
    });
    drop(cluster);
    sees(&mut browser, "#banner", "The supervisor does not answer (it cannot be reached), the last answer came");
}

#[test]
fn every_screen_and_both_schemes_can_be_read() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(2).redis(&redis.url()).start();
    cluster.run(&["kill", "1"]);
    cluster.await_ready();
    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
        node.emit(name, "joinRoom", json!(["a room with a long name, as people choose them"]));
    }
    cluster.eventually("a room is busy, and Redis has told its figures", |status| {
        node.emit("a", "roomMessage", json!(["a room with a long name, as people choose them", "hello"]));
        (status["busiest_rooms"][0].is_object() && status["bus"]["redis"].is_object()).then_some(())
    });
    let mut browser = Node::start("dashboard.mjs", &[]);
    let url = format!("http://{}/dashboard", cluster.admin());
    for (name, width, height, dark) in [
        ("light-1280", 1280, 800, false),
        ("dark-1280", 1280, 800, true),
        ("light-390", 390, 844, false),
        ("dark-390", 390, 844, true),
        ("light-360", 360, 640, false),
        ("light-1600", 1600, 900, false),
    ] {
        browser.ask(json!({"do": "open", "name": name, "url": url, "width": width, "height": height, "dark": dark}));
        browser.ask(json!({"do": "sees", "name": name, "selector": "#deaths li", "text": "signal KILL"}));
        browser.ask(json!({"do": "sees", "name": name, "selector": "#bus", "text": "its memory"}));
        let faint = browser.ask(json!({"do": "faint", "name": name}));
        assert_eq!(faint, json!([]), "{name}: too little contrast");
        let script =
            "[document.documentElement.scrollWidth, innerWidth, getComputedStyle(document.body).backgroundColor]";
        let seen = browser.ask(json!({"do": "run", "name": name, "script": script}));
        assert!(seen[0].as_u64() <= seen[1].as_u64(), "{name}: nothing to scroll to sideways: {seen}");
        assert_eq!(seen[2] == "rgb(18, 21, 24)", dark, "{name}: {seen}");
        let file = cluster.folder().join(format!("{name}.png"));
        browser.ask(json!({"do": "picture", "name": name, "file": file, "whole": true}));
        assert!(std::fs::metadata(&file).unwrap().len() > 20_000);
        if let Ok(keep) = std::env::var("ROOMD_PICTURES") {
            std::fs::copy(&file, format!("{keep}/dashboard-{name}.png")).unwrap();
        }
        assert_eq!(browser.ask(json!({"do": "errors", "name": name})), json!([]));
    }
}

#[test]
fn off_loopback_the_page_asks_for_the_token_and_keeps_it_in_its_tab() {
    let token = "0123456789abcdef";
    let config = format!("[admin]\ntoken = \"{token}\"\n");
    let cluster = Cluster::build(1).config(&config).admin("0.0.0.0:0").start();
    let mut browser = Node::start("dashboard.mjs", &[]);
    let url = format!("http://127.0.0.1:{}/", cluster.admin().port());
    browser.ask(json!({"do": "open", "name": "page", "url": url}));
    sees(&mut browser, "#token", "A token is needed");
    sees(&mut browser, "#token-words", "needs the token");
    let hidden = "document.getElementById('live').hidden && document.getElementById('banner').hidden";
    assert_eq!(run(&mut browser, hidden), true);
    let show = |browser: &mut Node, token: &str| {
        browser.ask(json!({"do": "fill", "name": "page", "selector": "#token-field", "text": token}));
    };
    show(&mut browser, "not the token");
    sees(&mut browser, "#token-words", "That token was not accepted");
    assert_eq!(browser.ask(json!({"do": "faint", "name": "page"})), json!([]));
    show(&mut browser, token);
    sees(&mut browser, "#state", "running");
    run(&mut browser, "location.reload()");
    sees(&mut browser, "#workers td", "ready");
    assert_eq!(run(&mut browser, "[location.href.includes('0123'), localStorage.length]"), json!([false, 0]));
    // The two refusals are told on the console by the browser itself.
    let errors = browser.ask(json!({"do": "errors", "name": "page"}));
    assert!(errors.as_array().unwrap().iter().all(|error| error.as_str().unwrap().contains("401")), "{errors}");
}

#[test]
fn off_loopback_without_a_token_the_page_says_what_to_set() {
    let cluster = Cluster::build(1).admin("0.0.0.0:0").start();
    let mut browser = Node::start("dashboard.mjs", &[]);
    let url = format!("http://127.0.0.1:{}/", cluster.admin().port());
    browser.ask(json!({"do": "open", "name": "page", "url": url}));
    sees(
        &mut browser,
        "#banner",
        "No figures: the admin listener is not on loopback: set `token` or `token_file` in [admin]",
    );
}

/// The page's own rates, over statuses of the test's making.
#[test]
fn rates_are_between_reports_and_begin_anew_with_every_process() {
    let cluster = Cluster::start(1);
    let mut browser = opened(&cluster, "/dashboard");
    let script = "(async () => {
        const { Meter } = await import('/dashboard/rates.js');
        const meter = new Meter();
        const look = (now, pid, events, ago, cpu) => {
          const counters = { events_in: events, events_out: 0, packets_out: 0, bytes_in: 0, bytes_out: 0, bus_published: 0, bus_received: 0 };
          const worker = { slot: 0, generation: 1, pid, reported_ago_s: ago, cpu_s: cpu, counters };
          const status = { supervisor: { pid: 1 }, balancer: { accepted: 0, refused: {} }, workers: [worker] };
          const { workers: [{ rates, cpu: busy }], total } = meter.take(status, now);
          return [rates?.eventsIn ?? null, total.eventsIn, busy];
        };
        return [
          look(1000, 7, 100, 0.5, 1.0), look(2000, 7, 200, 0.5, 1.5), look(2400, 7, 200, 0.9, 1.5), look(6000, 7, 200, 4.0, 1.5),
          look(7000, 8, 5, 0, 0), look(8000, 8, 25, 0, 0.1), look(9000, 8, 3, 0, 0.2), look(10000, 8, null, null, null),
        ];
      })()";
    let told = run(&mut browser, script);
    let expected = json!([
        [null, null, null],
        [100.0, 100.0, 50.0],
        [100.0, 100.0, 35.714285714285715],
        [null, null, 10.0],
        [null, null, null],
        [20.0, 20.0, 10.0],
        [null, null, 10.0],
        [null, null, null]
    ]);
    let numbers = |value: &Value| -> Vec<Option<i64>> {
        let rows = value.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
        rows.map(|figure| figure.as_f64().map(|figure| (figure * 100.0).round() as i64)).collect()
    };
    assert_eq!(numbers(&told), numbers(&expected), "{told}");
}

#[test]
fn the_page_holds_no_figures_and_loads_nothing_from_elsewhere() {
    let cluster = Cluster::start(1);
    let mut admin = Connection::open(cluster.admin());
    let page = admin.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; script-src 'self';"));
    assert!(!page.body.contains("http:") && !page.body.contains("https:"), "{}", page.body);
    assert_eq!(admin.get("/dashboard/main.js").header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(admin.get("/dashboard/nothing.js").status, 404);
    assert_eq!(admin.post("/dashboard", "").status, 404);
}
