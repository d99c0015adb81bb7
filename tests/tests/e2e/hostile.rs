//! Clients that mean harm, or do not know what they do: the others go on.

use std::{io::Write, net::TcpStream, time::Duration};

use flate2::{Compress, Compression, FlushCompress};
use roomd_tests::{
    Cluster,
    http::{Connection, HANDSHAKE, polling, sid},
};

/// Soon, since what a test does takes a worker long enough without a pause.
const HANG: &str = "[cluster]\nhang_timeout = \"5s\"\n[socketio]\nper_message_deflate = true\n";

/// A request for a WebSocket session.
fn websocket(headers: &str) -> String {
    format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// A frame of at least 126 bytes, with a mask of zeros.
fn long_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0xfe][..], &(payload.len() as u16).to_be_bytes(), &[0; 4], payload].concat()
}

/// Asserts that the one worker is that which began, and that it serves.
fn assert_still_served(cluster: &Cluster, pid: u32) {
    assert_eq!(Connection::open(cluster.address()).get(HANDSHAKE).status, 200);
    assert_eq!(cluster.worker_pids(), [pid], "{}", cluster.log());
    assert!(!cluster.log().contains("killing"), "{}", cluster.log());
}

#[test]
fn small_messages_that_are_large_when_decompressed_leave_time_for_others() {
    let cluster = Cluster::build(1).config(HANG).start();
    let pid = cluster.worker_pids()[0];
    let message = format!("42[\"x\",\"{}\"]", "a".repeat(990_000));
    let mut bomb = Vec::with_capacity(10_000);
    Compress::new(Compression::best(), false).compress_vec(message.as_bytes(), &mut bomb, FlushCompress::Sync).unwrap();
    bomb.truncate(bomb.len() - 4);
    let bombs = long_frame(0xc1, &bomb).repeat(60);
    let mut clients: Vec<Connection> = Vec::new();
    for _ in 0..4 {
        let mut client = Connection::open(cluster.address());
        client.send(websocket("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"));
        assert_eq!(client.answer().unwrap().status, 101);
        assert!(client.frame().is_some());
        clients.push(client);
    }
    for client in &mut clients {
        client.send([&[0x81, 0x82, 0, 0, 0, 0], &b"40"[..]].concat());
        client.send(&bombs);
        // Behind all of them a ping, which has an answer.
        client.send([0x89, 0x80, 0, 0, 0, 0]);
    }
    for client in &mut clients {
        // The time of a read is not enough for all.
        let within = Duration::from_secs(120);
        client.stream().set_read_timeout(Some(within)).unwrap();
        while client.frame().unwrap().0 != 0x8a {}
    }
    assert_still_served(&cluster, pid);
}

#[test]
fn clients_that_join_and_leave_children_all_the_time_leave_time_for_others() {
    let cluster = Cluster::build(1).program("test_app").config(HANG).start();
    let pid = cluster.worker_pids()[0];
    let packet = |kind: u8, client: usize, child: usize| {
        let text = format!("4{kind}/dyn-{client:03}{child:03},");
        [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
    };
    let mut clients: Vec<Connection> = (0..30)
        .map(|_| {
            let mut client = Connection::open(cluster.address());
            client.send(websocket(""));
            assert_eq!(client.answer().unwrap().status, 101);
            client
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let in_and_out = |child| [packet(0, number, child), packet(1, number, child)].concat();
        let storm: Vec<u8> = (0..250).cycle().take(1000).flat_map(in_and_out).collect();
        client.send(storm);
        client.send([0x89, 0x80, 0, 0, 0, 0]);
    }
    for client in &mut clients {
        client.stream().set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        while client.frame().unwrap().0 != 0x8a {}
    }
    assert_still_served(&cluster, pid);
    cluster.eventually("no namespace is left", |status| (status["workers"][0]["sockets"] == 0).then_some(()));
}

#[test]
fn a_post_of_very_many_packets_leaves_time_for_others() {
    let cluster = Cluster::build(1).config(HANG).start();
    let pid = cluster.worker_pids()[0];
    let body = vec!["42[\"x\"]"; 120_000].join("\x1e");
    let mut clients: Vec<Connection> = Vec::new();
    for _ in 0..4 {
        let mut client = Connection::open(cluster.address());
        let target = polling(&sid(&client.get(HANDSHAKE)));
        assert_eq!(client.post(&target, "40").status, 200);
        let length = body.len();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"));
        clients.push(client);
    }
    clients.iter_mut().for_each(|client| client.send(&body));
    for client in &mut clients {
        assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    }
    assert_still_served(&cluster, pid);
}

#[test]
fn who_leaves_while_the_application_decides_on_it_leaves_nothing_behind() {
    let cluster = Cluster::build(1).program("test_app").start();
    let polling = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: test\r\nx-allow: long\r\n\r\n");
    let websocket = websocket("x-allow: long\r\n");
    let clients: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut client = TcpStream::connect(cluster.address()).unwrap();
            client.write_all(if number % 2 == 0 { polling.as_bytes() } else { websocket.as_bytes() }).unwrap();
            client
        })
        .collect();
    cluster.eventually("all are there", |status| (status["balancer"]["open"] == 200).then_some(()));
    drop(clients);
    cluster.eventually("none is there", |status| (status["balancer"]["open"] == 0).then_some(()));
    assert_eq!(Connection::open(cluster.address()).get(HANDSHAKE).status, 200);
    assert!(!cluster.log().contains("panicked"));
}
