//! The demo page in a real browser: two tabs on two workers.

use roomd_tests::{Cluster, Node, eventually, http::Connection};
use serde_json::{Value, json};

fn facts(browser: &mut Node, tab: &str) -> Value {
    browser.ask(json!({"do": "facts", "name": tab}))
}

/// Opens tabs until two are on different workers.
fn two_workers(browser: &mut Node, url: &str) -> [String; 2] {
    browser.ask(json!({"do": "open", "name": "tab0", "url": url}));
    let first = facts(browser, "tab0")["worker"].clone();
    for number in 1..10 {
        let name = format!("tab{number}");
        browser.ask(json!({"do": "open", "name": name, "url": url, "dark": true}));
        if facts(browser, &name)["worker"] != first {
            return ["tab0".into(), name];
        }
    }
    panic!("ten tabs came to one worker");
}

fn sees(browser: &mut Node, tab: &str, who: Option<&str>, text: &str) {
    eventually(&format!("{tab} shows {text:?}"), || {
        let messages = facts(browser, tab)["messages"].clone();
        let mut messages = messages.as_array().unwrap().iter();
        messages.any(|message| message[1] == text && who.is_none_or(|who| message[0] == who)).then_some(())
    });
}

fn chat(cluster: &Cluster, transport: &str, fallback: bool) {
    let mut browser = Node::start("page.mjs", &[]);
    let [a, b] = two_workers(&mut browser, &cluster.url());
    browser.ask(json!({"do": "say", "name": a, "text": "hello from the first tab"}));
    sees(&mut browser, &a, Some("you"), "hello from the first tab");
    sees(&mut browser, &b, None, "hello from the first tab");
    for tab in [&a, &b] {
        browser.ask(json!({"do": "join", "name": tab, "room": "blue"}));
        eventually("the tab is in blue", || (facts(&mut browser, tab)["room"] == "blue").then_some(()));
    }
    browser.ask(json!({"do": "say", "name": b, "text": "<b>only</b> for blue"}));
    sees(&mut browser, &a, None, "<b>only</b> for blue");
    for tab in [&a, &b] {
        eventually("the transport", || (facts(&mut browser, tab)["transport"] == transport).then_some(()));
        let facts = facts(&mut browser, tab);
        assert_eq!(facts["state"], "connected");
        assert_eq!(facts["errors"], json!([]));
        assert_eq!(facts["notice"].is_string(), fallback, "{facts}");
        let file = cluster.folder().join(format!("{tab}.png"));
        browser.ask(json!({"do": "picture", "name": tab, "file": file}));
        assert!(std::fs::metadata(&file).unwrap().len() > 5000);
        if let Ok(keep) = std::env::var("ROOMD_PICTURES") {
            std::fs::copy(&file, format!("{keep}/{tab}-{fallback}.png")).unwrap();
        }
    }
    // The page survives its worker, and comes back to its room.
    cluster.run(&["kill", "0"]);
    cluster.run(&["kill", "1"]);
    cluster.await_ready();
    eventually("both tabs are back and hear each other", || {
        browser.ask(json!({"do": "say", "name": a, "text": "are you there?"}));
        let heard = facts(&mut browser, &b)["messages"].to_string().contains("are you there?");
        (heard && facts(&mut browser, &a)["state"] == "connected").then_some(())
    });
}

#[test]
fn two_tabs_chat_with_the_official_client() {
    let client = Node::folder().join("node_modules/socket.io/client-dist");
    let config = format!("[socketio]\nclient_files = {client:?}\n");
    chat(&Cluster::build(2).config(&config).start(), "websocket", false);
}

#[test]
fn two_tabs_chat_in_messagepack() {
    let client = Node::folder().join("node_modules/socket.io/client-dist");
    let config = format!("[socketio]\nparser = \"msgpack\"\nclient_files = {client:?}\n");
    chat(&Cluster::build(2).config(&config).start(), "websocket", false);
}

#[test]
fn two_tabs_chat_with_the_pages_own_client_where_the_official_one_cannot_be_loaded() {
    chat(&Cluster::start(2), "websocket", true);
}

#[test]
fn a_narrow_screen_shows_all_of_it() {
    let cluster = Cluster::start(1);
    let mut browser = Node::start("page.mjs", &[]);
    browser.ask(json!({"do": "open", "name": "phone", "url": cluster.url(), "width": 360}));
    for number in 0..30 {
        browser
            .ask(json!({"do": "say", "name": "phone", "text": format!("message {number} {}", "long".repeat(number))}));
    }
    sees(&mut browser, "phone", Some("you"), &format!("message 29 {}", "long".repeat(29)));
    let button = "document.querySelector('#say button').getBoundingClientRect().bottom";
    let script = format!("[document.documentElement.scrollWidth, innerWidth, {button}, innerHeight]");
    let sizes = browser.ask(json!({"do": "run", "name": "phone", "script": script}));
    let sizes: Vec<f64> = sizes.as_array().unwrap().iter().map(|size| size.as_f64().unwrap()).collect();
    assert!(sizes[0] <= sizes[1], "nothing to scroll to sideways: {sizes:?}");
    assert!(sizes[2] <= sizes[3], "the button is in sight: {sizes:?}");
}

/// The first example's client is a file that a browser opens: its origin is `null`, and it begins by polling.
#[test]
fn a_page_opened_from_a_file_may_connect_where_all_origins_may() {
    let client = Node::folder().join("node_modules/socket.io/client-dist");
    let cluster =
        Cluster::build(2).config(&format!("[socketio]\nclient_files = {client:?}\ncors_origins = [\"*\"]\n")).start();
    let file = cluster.folder().join("client.html");
    let url = cluster.url();
    let html = format!(
        "<!doctype html><p id=state>state<p id=said><script src=\"{url}/socket.io/socket.io.min.js\"></script><script>\
         const socket = io(\"{url}\");\
         socket.on('message', (message) => {{ said.textContent = message.text; state.dataset.state = 'connected'; }});\
         socket.on('connect', () => socket.emit('chatMessage', 'hello from a file'));</script>"
    );
    std::fs::write(&file, html).unwrap();
    let mut browser = Node::start("page.mjs", &[]);
    browser.ask(json!({"do": "open", "name": "file", "url": format!("file://{}", file.display())}));
    let said =
        browser.ask(json!({"do": "run", "name": "file", "script": "document.getElementById('said').textContent"}));
    assert_eq!(said, "hello from a file");
}

#[test]
fn the_page_is_served_beside_the_socket_io_server() {
    let cluster = Cluster::start(2);
    let mut connection = Connection::open(cluster.address());
    let page = connection.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    for path in ["/page/page.css", "/page/page.js", "/page/fallback.js"] {
        assert_eq!(connection.get(path).status, 200, "{path}");
    }
    for path in ["/nothing", "/socket.io", "/page/", "/page/../Cargo.toml", "/page/socket.io.js"] {
        assert_eq!(connection.get(path).status, 404, "{path}");
    }
    connection.send("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let head = String::from_utf8(connection.rest()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn client_files_are_those_of_the_last_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("socket.io.min.js");
    std::fs::write(&file, "/* Socket.IO v1.0.0 */").unwrap();
    let cluster = Cluster::build(2).config(&format!("[socketio]\nclient_files = {:?}\n", folder.path())).start();
    let version = || {
        let answer = Connection::open(cluster.address()).get("/socket.io/socket.io.min.js");
        (answer.header("etag").unwrap().to_owned(), answer.body)
    };
    let first = ("\"1.0.0\"".to_owned(), "/* Socket.IO v1.0.0 */".to_owned());
    assert_eq!(version(), first);

    std::fs::remove_file(&file).unwrap();
    let output = cluster.command(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("has no socket.io.min.js"), "{said}");
    assert_eq!(version(), first, "what was read is kept");

    std::fs::write(&file, "/* Socket.IO v2.0.0 */ //").unwrap();
    cluster.run(&["reload"]);
    assert_eq!(version(), ("\"2.0.0\"".to_owned(), "/* Socket.IO v2.0.0 */ //".to_owned()));
}
