//! The same raw bytes to the official server and to ours: status, headers and body are to be the same, frame by frame.
//!
//! Both run the same application, an echo. What may differ is in [`allowed`], each with its reason.

mod allowed;
mod cases;
mod generated;
mod recorder;

use std::net::SocketAddr;

use cases::Case;
use recorder::Recorder;
use roomd_tests::{Cluster, Node};
use serde_json::{Value, json};

/// Has the same conversations with both, and shows where ours says something else.
fn compare(config: &str, options: &Value, cases: &[Case]) {
    let mut official = Node::start("echo.mjs", &[&options.to_string()]);
    let port = official.line()["port"].as_u64().unwrap();
    let official = SocketAddr::from(([127, 0, 0, 1], port as u16));
    // Two workers: a conversation of several connections shows that all reach the one that has the session.
    let ours = Cluster::build(2).program("test_app").config(config).start();
    let mut report = String::new();
    for (name, talk) in cases {
        let [expected, actual] = [official, ours.address()].map(|server| {
            let mut recorder = Recorder::new(server);
            talk(&mut recorder);
            allowed::everywhere(recorder.lines)
        });
        if let Some(reason) = allowed::reason(name).filter(|_| expected == actual) {
            report += &format!("\n{name}\n  no longer differs: take it from the list ({reason})\n");
        }
        let (expected, actual) = (allowed::here(name, &expected), allowed::here(name, &actual));
        if expected != actual {
            report += &format!("\n{name}\n");
            for line in expected.iter().filter(|line| !actual.contains(line)) {
                report += &format!("  - {line}\n");
            }
            for line in actual.iter().filter(|line| !expected.contains(line)) {
                report += &format!("  + {line}\n");
            }
        }
    }
    assert!(report.is_empty(), "- is what the official server says, + ours:\n{report}");
}

#[test]
fn with_default_options() {
    compare("", &json!({}), &cases::DEFAULTS.concat());
}

#[test]
fn with_short_times() {
    let config = "[socketio]\nping_interval = \"300ms\"\nping_timeout = \"200ms\"\nupgrade_timeout = \"300ms\"\nconnect_timeout = \"400ms\"\n";
    let options = json!({"pingInterval": 300, "pingTimeout": 200, "upgradeTimeout": 300, "connectTimeout": 400});
    compare(config, &options, cases::QUICK);
}

#[test]
fn with_all_origins_allowed() {
    compare("[socketio]\ncors_origins = [\"*\"]\n", &json!({"cors": {"origin": "*"}}), cases::CROSS_ORIGIN);
}

#[test]
fn with_some_origins_allowed() {
    let origins = json!(["http://a.example", "http://b.example"]);
    compare(
        &format!("[socketio]\ncors_origins = {origins}\n"),
        &json!({"cors": {"origin": origins}}),
        cases::CROSS_ORIGIN,
    );
}

#[test]
fn with_fewer_transports() {
    for transports in [json!(["polling"]), json!(["websocket"])] {
        let config = format!("[socketio]\ntransports = {transports}\n");
        compare(&config, &json!({"transports": transports}), cases::TRANSPORTS);
    }
    compare("[socketio]\nallow_upgrades = false\n", &json!({"allowUpgrades": false}), cases::UNTOLD);
}

#[test]
fn with_a_cookie() {
    compare("[socketio]\ncookie = true\n", &json!({"cookie": true}), cases::COOKIE);
    let table =
        "name = \"lb\", max_age = \"1h\", domain = \"a.example\", secure = true, same_site = \"strict\", path = \"/x\"";
    let options = json!({
        "name": "lb", "maxAge": 3600, "domain": "a.example", "secure": true, "sameSite": "strict", "path": "/x",
    });
    compare(&format!("[socketio]\ncookie = {{ {table} }}\n"), &json!({"cookie": options}), cases::COOKIE);
}

#[test]
fn with_a_path_without_a_slash_at_its_end() {
    compare("[socketio]\nadd_trailing_slash = false\n", &json!({"addTrailingSlash": false}), cases::PATH);
}

#[test]
fn with_compressed_messages() {
    // Ours is never agreed on otherwise: see the worker's `protocol::deflate`.
    let options = json!({"perMessageDeflate": {"serverNoContextTakeover": true, "clientNoContextTakeover": true}});
    compare("[socketio]\nper_message_deflate = true\n", &options, cases::DEFLATE);
}

#[test]
fn with_every_option_of_the_cors_package() {
    let origins = ["http://a.example", "http://b.example"];
    let pattern = r"/^http:\/\/[ab]\.example$/";
    for (ours, official) in [
        ("origin = true, credentials = true".to_owned(), json!({"origin": true, "credentials": true})),
        (format!("origin = \"{}\"", origins[0]), json!({"origin": origins[0]})),
        (format!("origin = [\"{}\", '{pattern}']", origins[0]), json!({"origin": [origins[0], pattern]})),
        (format!("origin = '{pattern}'"), json!({"origin": pattern})),
        ("origin = []".to_owned(), json!({"origin": []})),
        (
            "methods = [\"GET\", \"POST\"], max_age = \"0s\"".to_owned(),
            json!({"methods": ["GET", "POST"], "maxAge": 0}),
        ),
        ("methods = \"GET\", max_age = \"10m\"".to_owned(), json!({"methods": "GET", "maxAge": 600})),
        (
            "allowed_headers = [\"X-A\", \"X-B\"], exposed_headers = [\"X-C\", \"X-D\"]".to_owned(),
            json!({"allowedHeaders": ["X-A", "X-B"], "exposedHeaders": ["X-C", "X-D"]}),
        ),
        (
            "allowed_headers = [], exposed_headers = [], methods = []".to_owned(),
            json!({"allowedHeaders": [], "exposedHeaders": [], "methods": []}),
        ),
        (
            "allowed_headers = \"X-A\", origin = true, options_success_status = 200".to_owned(),
            json!({"allowedHeaders": "X-A", "origin": true, "optionsSuccessStatus": 200}),
        ),
        ("origin = true, preflight_continue = true".to_owned(), json!({"origin": true, "preflightContinue": true})),
    ] {
        println!("{ours}");
        let config = format!("[socketio]\ncors = {{ {ours} }}\n");
        // What differs in a preflight's usual answer does not in these.
        let other = ours.contains("options_success_status") || ours.contains("preflight_continue");
        let cases = if other { cases::OTHER_PREFLIGHT } else { cases::CROSS_ORIGIN };
        compare(&config, &json!({"cors": official}), cases);
    }
}

#[test]
fn with_client_files() {
    let folder = Node::folder().join("node_modules/socket.io/client-dist");
    let config = format!("[socketio]\nclient_files = {folder:?}\n");
    compare(&config, &json!({"serveClient": true}), cases::CLIENT_FILES);
    let origins = json!(["http://a.example", "http://b.example"]);
    compare(
        &format!("{config}cors_origins = {origins}\nadd_trailing_slash = false\n"),
        &json!({"serveClient": true, "cors": {"origin": origins}, "addTrailingSlash": false}),
        &[cases::CLIENT_FILES, cases::FROM_ELSEWHERE].concat(),
    );
}

#[test]
fn with_compressed_polls() {
    compare("", &json!({}), cases::COMPRESSION);
    compare("[socketio]\nhttp_compression = false\n", &json!({"httpCompression": false}), cases::COMPRESSION);
    let options = json!({"httpCompression": {"threshold": 0}});
    compare("[socketio]\nhttp_compression = { threshold = \"0B\" }\n", &options, cases::COMPRESSION);
}
