//! What the balancer answers by itself, and where it listens.

use std::{
    io::Write,
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use roomd_tests::{
    Cluster, eventually,
    http::{Answer, Connection, HANDSHAKE, polling, sid},
    told_handshake,
};

/// Sends something and takes the answer of whoever ends the connection: status, and that the connection ends in order.
fn refused(cluster: &Cluster, bytes: &[u8]) -> Answer {
    let mut connection = Connection::open(cluster.address());
    // The balancer may have answered before all is sent.
    connection.try_send(bytes);
    let answer = connection.answer().expect("an answer, not a reset");
    assert!(connection.rest().is_empty(), "nothing after the answer");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    answer
}

#[test]
fn what_is_not_http_is_answered_400() {
    let cluster = Cluster::start(1);
    let long = [&b"\x16\x03\x01"[..], &[7; 100_000]].concat();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH\r\n",
        b"\0\0\0\0",
        b"GET\r\n\r\n",
        &long,
    ] {
        assert_eq!(
            refused(&cluster, bytes).status,
            400,
            "{:?}",
            String::from_utf8_lossy(&bytes[..10.min(bytes.len())])
        );
    }
    assert_eq!(cluster.status()["balancer"]["accepted"], 5);
}

#[test]
fn a_head_that_is_too_large_is_answered_431() {
    let cluster = Cluster::start(1);
    let long = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: y\r\n".repeat(300));
    let endless = "GET /".to_owned() + &"x".repeat(200_000);
    for head in [long, many, endless] {
        assert_eq!(refused(&cluster, head.as_bytes()).status, 431, "{}", &head[..40]);
    }
}

#[test]
fn a_slow_head_is_answered_408() {
    let cluster = Cluster::build(1).config("[cluster]\nhead_timeout = \"300ms\"\n").start();
    for bytes in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: test\r\n"] {
        let begin = Instant::now();
        assert_eq!(refused(&cluster, bytes).status, 408);
        assert!(begin.elapsed() >= Duration::from_millis(290), "{:?}", begin.elapsed());
    }
    // One that trickles in is no better than one that stops.
    let mut connection = Connection::open(cluster.address());
    let begin = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: test\r\nX: 0123456789".iter().cycle() {
        if connection.try_send([*byte]).is_none() || begin.elapsed() > Duration::from_millis(500) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(connection.answer().expect("an answer, not a reset").status, 408);
}

#[test]
fn when_no_worker_is_ready_in_time_the_answer_is_503_and_when_to_come_back() {
    let config = "[cluster]\nworker_wait = \"300ms\"\nstart_timeout = \"20s\"\n";
    let cluster = Cluster::build(1).program("test_app").config(config).prepare(|folder| {
        std::fs::write(folder.join("fail"), "hang").unwrap();
    });
    let request = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: test\r\n\r\n");
    let answer = refused(&cluster, request.as_bytes());
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok());
    // A body that nobody read must not cost the client its answer.
    let body =
        format!("POST {HANDSHAKE} HTTP/1.1\r\nHost: test\r\nContent-Length: 50000\r\n\r\n{}", "x".repeat(50_000));
    assert_eq!(refused(&cluster, body.as_bytes()).status, 503);
}

#[test]
fn connections_wait_for_the_first_worker() {
    let cluster = Cluster::build(1).program("test_app").prepare(|folder| {
        std::fs::write(folder.join("fail"), "wait").unwrap();
    });
    let mut early: Vec<_> = (0..5)
        .map(|_| {
            let mut connection = Connection::open(cluster.address());
            connection.send(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: test\r\n\r\n"));
            connection
        })
        .collect();
    cluster.eventually("all wait", |status| (status["balancer"]["waiting_for_worker"] == 5).then_some(()));
    std::fs::remove_file(cluster.folder().join("fail")).unwrap();
    for connection in &mut early {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
}

#[test]
fn connections_are_limited_in_all_and_per_address() {
    for (key, trusted, reason) in [
        ("max_connections = 3", "", 503),
        ("max_connections_per_address = 3", "", 429),
        ("max_connections_per_address = 3", "trusted_proxies = [\"127.0.0.0/8\"]", 200),
    ] {
        let cluster = Cluster::build(1).config(&format!("[cluster]\n{key}\n{trusted}\n")).start();
        let mut kept: Vec<_> = (0..3)
            .map(|_| {
                let mut connection = Connection::open(cluster.address());
                assert_eq!(connection.get(HANDSHAKE).status, 200);
                connection
            })
            .collect();
        let mut fourth = Connection::open(cluster.address());
        assert_eq!(fourth.get(HANDSHAKE).status, reason, "{key} {trusted}");
        drop((kept.pop(), fourth));
        eventually("one may come for each that has gone", || {
            Some(Connection::open(cluster.address()).get(HANDSHAKE)).filter(|answer| answer.status == 200)
        });
    }
}

/// What a client writes into `X-Forwarded-For` is believed only where a proxy that is named could have added to it.
#[test]
fn the_application_is_told_the_clients_address_by_trusted_proxies_alone() {
    for (trusted, forwarded, expected) in [
        ("", "203.0.113.7", "127.0.0.1"),
        ("10.0.0.0/8", "203.0.113.7", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1\", \"10.0.0.0/8", "203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("::1\", \"127.0.0.1", "2001:db8::7", "2001:db8::7"),
    ] {
        let trusted_proxies = if trusted.is_empty() { String::new() } else { format!("\"{trusted}\"") };
        let config = format!("[cluster]\ntrusted_proxies = [{trusted_proxies}]\n");
        let cluster = Cluster::build(1).program("test_app").config(&config).start();
        let mut connection = Connection::open(cluster.address());
        connection.send(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {forwarded}\r\n\r\n"));
        let sid = sid(&connection.answer().unwrap());
        let told = told_handshake(&mut connection, &sid);
        assert_eq!(told["address"], expected, "trusted {trusted:?}, forwarded {forwarded:?}");
    }
}

#[test]
fn it_listens_on_several_addresses_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let unix = format!("unix:{}", path.display());
    let cluster =
        Cluster::build(2).argument("--listen").argument("[::1]:0").argument("--listen").argument(&unix).start();
    let six = cluster.addresses()[1].parse().unwrap();
    let stream = UnixStream::connect(&path).unwrap();
    for mut connection in [Connection::open(cluster.address()), Connection::open(six), Connection::over(stream)] {
        let first = connection.get(HANDSHAKE);
        assert_eq!(first.status, 200, "{first:?}");
        let target = polling(&sid(&first));
        assert_eq!(connection.post(&target, "40").body, "ok");
        assert!(connection.get(&target).body.starts_with("40{"));
    }
    assert_eq!(cluster.addresses()[2..], [unix]);
}

#[test]
fn an_address_in_use_is_named_in_one_line() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut cluster = Cluster::build(1).argument("--listen").argument(&address.to_string()).launch();
    assert_eq!(cluster.await_end(Duration::from_secs(10)).code(), Some(1));
    let log = cluster.log();
    assert!(log.starts_with("roomd: ") && log.contains(&address.to_string()) && log.lines().count() == 1, "{log}");
}

#[test]
fn a_client_that_leaves_before_its_head_is_whole_leaves_nothing_behind() {
    let cluster = Cluster::start(1);
    for bytes in [&b""[..], b"GET / HTTP"] {
        TcpStream::connect(cluster.address()).unwrap().write_all(bytes).unwrap();
    }
    cluster.eventually("all is forgotten", |status| {
        let balancer = &status["balancer"];
        (balancer["accepted"] == 2 && balancer["open"] == 0 && balancer["waiting_for_head"] == 0).then_some(())
    });
}
