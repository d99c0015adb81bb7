//! Compressed messages from end to end: who agreed on it gets them compressed, everybody gets the same, in order.

use std::net::SocketAddr;

use flate2::{Decompress, FlushDecompress};
use roomd_tests::{Cluster, Node, http::Connection};
use serde_json::{Value, json};

/// A client of the built-in application, frame by frame.
struct Client(Connection);

impl Client {
    /// Opens a session that offers extensions, and joins the main namespace. Gives what was agreed on.
    fn open(server: SocketAddr, offer: &str) -> (Client, Option<String>) {
        let mut connection = Connection::open(server);
        connection.send(format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
        ));
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, 101);
        let agreed = answer.header("sec-websocket-extensions").map(str::to_owned);
        let mut client = Client(connection);
        assert!(client.next().1.starts_with("0{"));
        client.0.send(text_frame("40"));
        assert!(client.next().1.starts_with("40{"));
        (client, agreed)
    }

    /// The next message, and whether it came compressed.
    fn next(&mut self) -> (bool, String) {
        let (head, payload) = self.0.frame().unwrap();
        let message = match head {
            0x81 => payload,
            0xc1 => inflated(&payload),
            head => panic!("frame {head:02x}"),
        };
        (head == 0xc1, String::from_utf8(message).unwrap())
    }

    /// The next chat message's text, and whether it came compressed.
    fn next_text(&mut self) -> (bool, String) {
        let (compressed, packet) = self.next();
        let event: Value = serde_json::from_str(packet.strip_prefix("42").unwrap()).unwrap();
        (compressed, event[1]["text"].as_str().unwrap().to_owned())
    }
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ ..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    // A mask of zeros.
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1_000_000);
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&input, &mut message, FlushDecompress::Sync).unwrap();
    message
}

#[test]
fn a_rooms_messages_are_compressed_for_those_who_agreed_and_the_same_for_all() {
    let cluster = Cluster::build(2).config("[socketio]\nper_message_deflate = true\n").start();
    let offers = [
        ("", None),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        // What Python's websockets offers.
        (
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12; client_max_window_bits=12\r\n",
            Some(
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12; server_no_context_takeover; \
                 client_no_context_takeover",
            ),
        ),
    ];
    // Enough of each that both workers have some.
    let mut clients = Vec::new();
    for (offer, expected) in offers.into_iter().cycle().take(12) {
        let (client, agreed) = Client::open(cluster.address(), offer);
        assert_eq!(agreed.as_deref(), expected);
        clients.push((client, agreed.is_some()));
    }
    let texts: Vec<String> = (0..60)
        .map(|number| {
            format!("{number} {}", "a message that compresses ".repeat(if number % 3 == 0 { 100 } else { number % 4 }))
        })
        .collect();
    // All at once, so that they come in batches.
    let frames: Vec<u8> =
        texts.iter().flat_map(|text| text_frame(&format!("42{}", json!(["chatMessage", text])))).collect();
    clients[0].0.0.send(frames);
    for (client, agreed) in &mut clients {
        for text in &texts {
            assert_eq!(client.next_text(), (*agreed && text.len() > 1000, text.clone()));
        }
    }
    assert!(!cluster.log().contains("panicked"));
}

#[test]
fn it_is_off_if_nothing_is_said() {
    let cluster = Cluster::start(1);
    let (_client, agreed) = Client::open(cluster.address(), "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert_eq!(agreed, None);
    let (_client, agreed) = Client::open(cluster.address(), "Sec-WebSocket-Extensions: ;;;\r\n");
    assert_eq!(agreed, None, "what is not looked at may be anything");
}

#[test]
fn a_browser_agrees_on_it() {
    let client = Node::folder().join("node_modules/socket.io/client-dist");
    let config = format!(
        "[socketio]\nclient_files = {client:?}\ncors_origins = [\"*\"]\nper_message_deflate = {{ threshold = \"100B\" }}\n"
    );
    let cluster = Cluster::build(2).config(&config).start();
    let file = cluster.folder().join("client.html");
    let url = cluster.url();
    let html = format!(
        "<!doctype html><p id=state>state<p id=said><p id=how><script src=\"{url}/socket.io/socket.io.min.js\"></script><script>\
         const socket = io(\"{url}\", {{ transports: ['websocket'] }});\
         socket.on('message', (message) => {{\
         said.textContent = message.text; how.textContent = socket.io.engine.transport.ws.extensions; \
         state.dataset.state = 'connected'; }});\
         socket.on('connect', () => socket.emit('chatMessage', 'long '.repeat(20000)));</script>"
    );
    std::fs::write(&file, html).unwrap();
    let mut browser = Node::start("page.mjs", &[]);
    browser.ask(json!({"do": "open", "name": "file", "url": format!("file://{}", file.display())}));
    let script = "[document.getElementById('said').textContent.length, document.getElementById('how').textContent]";
    let shown = browser.ask(json!({"do": "run", "name": "file", "script": script}));
    assert_eq!(shown[0], 100_000);
    assert!(shown[1].as_str().unwrap().starts_with("permessage-deflate"), "{shown}");
}
