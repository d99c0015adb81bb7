//! The bus over a real Redis, which is taken away in all the usual ways.

use std::{
    io::Write as _,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use roomd_worker::bus::{BusMonitor, HealthTiming, PublishError, RedisBus};

use super::{
    RedisServer,
    conformance::conforms,
    member::Member,
    proxy::{KINDS, Proxy},
    run,
};

const QUICK: HealthTiming = HealthTiming { interval: Duration::from_millis(100), deadline: Duration::from_millis(700) };

/// A loaded machine is not a dead one.
const PATIENT: HealthTiming = HealthTiming { interval: Duration::from_millis(100), deadline: Duration::from_secs(10) };

fn member(url: &str, timing: HealthTiming) -> Member {
    Member::new(|inbox| RedisBus::new(url, timing, inbox).unwrap())
}

/// A message gets through on an exact and on a prefix subscription.
async fn delivers(one: &Member, two: &Member) {
    one.settle(two).await;
    two.bus.publish("exact", b"1");
    two.bus.publish("prefix#room#", b"2");
    assert_eq!(one.next().await, ("exact".to_owned(), "1".into()));
    assert_eq!(one.next().await, ("prefix#room#".to_owned(), "2".into()));
}

async fn subscribed_pair(url: &str, url_of_two: &str) -> (Member, Member) {
    let (one, two) = (member(url, QUICK), member(url_of_two, QUICK));
    one.bus.subscribe("exact");
    one.bus.subscribe_prefix("prefix#");
    one.up().await;
    two.up().await;
    delivers(&one, &two).await;
    (one, two)
}

#[test]
fn the_redis_bus_conforms() {
    run(async {
        let server = RedisServer::start(&[]);
        conforms(|| member(&server.url(), PATIENT)).await;
    });
}

/// Long enough for the pauses between attempts to reach their bound.
#[test]
fn a_killed_server_that_is_back_after_a_while_is_used_as_before() {
    outage(Duration::from_secs(10));
}

#[test]
fn a_killed_server_that_is_back_after_more_than_a_minute_is_used_as_before() {
    outage(Duration::from_secs(61));
}

fn outage(length: Duration) {
    run(async {
        let mut server = RedisServer::start(&[]);
        let proxy = Proxy::start(server.port);
        let (one, two) = subscribed_pair(&proxy.url(), &server.url()).await;
        server.stop();
        let (stopped, before) = (Instant::now(), proxy.came.lock().unwrap().len());
        let reason = one.down().await;
        assert!(reason.starts_with(&proxy.url()), "{reason}");
        two.down().await;
        // Wanted and unwanted while it is away.
        one.bus.subscribe("later");
        one.bus.unsubscribe("exact");
        two.bus.publish("prefix#room#", b"lost");
        assert_eq!(two.bus.counters().dropped, 1);
        assert!(two.bus.count_subscribers("later").await.is_err());
        tokio::time::sleep_until((stopped + length).into()).await;
        assert!(two.bus.health().reason.contains("is Redis running there?"), "{:?}", two.bus.health());
        let attempts = proxy.came.lock().unwrap()[before..].to_vec();
        server.restart();
        one.up().await;
        two.up().await;
        one.settle(&two).await;
        assert_eq!(two.bus.count_subscribers("later").await, Ok(1));
        assert_eq!(two.bus.count_subscribers("exact").await, Ok(0));
        one.bus.subscribe("exact");
        delivers(&one, &two).await;
        let ups: Vec<bool> = one.inbox.changes.borrow().iter().map(|health| health.up).collect();
        assert_eq!(ups, [true, false, true]);
        pauses_grow_to_their_bound(&attempts);
    });
}

/// Doubled from a tenth of a second to three seconds, of which the second half is random.
fn pauses_grow_to_their_bound(attempts: &[Instant]) {
    let pauses: Vec<f64> = attempts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    assert!(pauses.len() >= 5, "{pauses:?}");
    let mut whole: f64 = 0.2;
    for pause in &pauses {
        // A busy machine adds to it.
        assert!((whole * 0.5..whole + 1.0).contains(pause), "{whole} in {pauses:?}");
        whole = (whole * 2.0).min(3.0);
    }
}

#[test]
fn many_restarts_in_a_row_leave_all_as_it_was() {
    run(async {
        let mut server = RedisServer::start(&[]);
        let (one, two) = subscribed_pair(&server.url(), &server.url()).await;
        for _ in 0..4 {
            server.restart();
            // Whether a health check fell into the gap is not said: delivery is what counts.
            delivers(&one, &two).await;
        }
    });
}

#[test]
fn a_paused_server_is_down_by_its_deadline_and_up_again_after_it() {
    run(async {
        let server = RedisServer::start(&[]);
        let (one, two) = subscribed_pair(&server.url(), &server.url()).await;
        server.signal(Signal::SIGSTOP);
        let paused = Instant::now();
        one.down().await;
        assert!(paused.elapsed() < Duration::from_secs(5), "{:?}", paused.elapsed());
        // The kernel still accepts connections: the reason is the silence.
        one.until("a reason", || one.bus.health().reason.contains("is it paused").then_some(())).await;
        server.signal(Signal::SIGCONT);
        one.up().await;
        two.up().await;
        delivers(&one, &two).await;
    });
}

#[test]
fn connections_that_the_server_closes_are_made_again() {
    run(async {
        let server = RedisServer::start(&[]);
        let (one, two) = subscribed_pair(&server.url(), &server.url()).await;
        for kind in ["pubsub", "normal"] {
            assert!(server.run(&format!("CLIENT KILL TYPE {kind}")).starts_with(':'));
            delivers(&one, &two).await;
        }
    });
}

/// The other connection works on, so a check of one connection would see nothing.
#[test]
fn a_half_open_connection_of_either_kind_is_found_and_made_again() {
    run(async {
        let server = RedisServer::start(&[]);
        for kind in KINDS {
            let proxy = Proxy::start(server.port);
            let one = member(&proxy.url(), QUICK);
            let two = member(&server.url(), QUICK);
            one.bus.subscribe("exact");
            one.bus.subscribe_prefix("prefix#");
            one.up().await;
            delivers(&one, &two).await;
            proxy.cut_off(kind);
            one.down().await;
            one.up().await;
            delivers(&one, &two).await;
            one.until("the dead connections' end", || (proxy.open.load(Ordering::SeqCst) == 2).then_some(())).await;
        }
    });
}

#[test]
fn a_queue_that_is_full_drops_and_counts_what_is_published_and_keeps_the_rest() {
    run(async {
        let server = RedisServer::start(&[]);
        let (one, two) = (member(&server.url(), PATIENT), member(&server.url(), PATIENT));
        one.bus.subscribe("flood");
        two.up().await;
        one.settle(&two).await;
        server.signal(Signal::SIGSTOP);
        let payload = vec![7; 500_000];
        for _ in 0..100 {
            two.bus.publish("flood", &payload);
            tokio::task::yield_now().await;
        }
        let dropped = two.bus.counters().dropped;
        assert!((10..60).contains(&dropped), "{dropped}");
        server.signal(Signal::SIGCONT);
        for _ in 0..100 - dropped {
            assert_eq!(one.next().await.1.len(), payload.len());
        }
        one.settle(&two).await;
        assert_eq!(one.unread(), 0);
        two.bus.publish("flood", b"last");
        assert_eq!(one.next().await.1, "last");
        assert_eq!(two.bus.counters().dropped, dropped);
    });
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_waited_for() {
    run(async {
        let mut server = RedisServer::stopped();
        let one = member(&server.url(), QUICK);
        one.bus.subscribe("exact");
        let reason = one.down().await;
        assert!(reason.contains("is Redis running there?"), "{reason}");
        let monitor = BusMonitor::redis(server.url(), QUICK).unwrap();
        let mut changes = monitor.changes();
        assert!(!changes.wait_for(|health| !health.reason.is_empty()).await.unwrap().up);
        server.restart();
        one.up().await;
        tokio::time::timeout(Duration::from_secs(10), changes.wait_for(|health| health.up)).await.unwrap().unwrap();
        assert_eq!(one.bus.count_subscribers("exact").await, Ok(1));
    });
}

#[test]
fn a_wrong_password_is_told_without_the_password_and_a_right_one_works() {
    run(async {
        let server = RedisServer::start(&["--requirepass right", "--user ann on >pa@ss ~* &* +@all"]);
        for login in ["", ":wrongsecret@", "ann:wrongsecret@", "bob:wrongsecret@"] {
            let reason = member(&format!("redis://{login}127.0.0.1:{}", server.port), QUICK).down().await;
            assert!(reason.contains("check user and password"), "{reason}");
            assert!(!reason.contains("wrongsecret") && !reason.contains('\n'), "{reason}");
        }
        member(&format!("redis://:right@127.0.0.1:{}/3", server.port), QUICK).up().await;
        member(&format!("redis://ann:pa%40ss@localhost:{}", server.port), QUICK).up().await;
        member(&format!("unix://{}?pass=right", server.socket().display()), QUICK).up().await;
        member(&format!("redis+unix://{}?db=1&user=ann&pass=pa%40ss", server.socket().display()), QUICK).up().await;
        let reason = member(&format!("redis://:right@127.0.0.1:{}/99", server.port), QUICK).down().await;
        assert!(reason.contains("SELECT") && reason.contains("DB index is out of range"), "{reason}");
        assert!(reason.contains("check the database's number"), "{reason}");
    });
}

#[test]
fn what_is_no_redis_or_no_tls_port_is_told_with_a_way_out() {
    run(async {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in other.incoming() {
                let _ = stream.unwrap().write_all(b"SSH-2.0-OpenSSH_10.0\r\n");
            }
        });
        let reason = member(&format!("redis://127.0.0.1:{port}"), QUICK).down().await;
        assert!(reason.contains("is it Redis that listens there"), "{reason}");
        let server = RedisServer::start(&[]);
        let reason = member(&format!("rediss://127.0.0.1:{}", server.port), QUICK).down().await;
        assert!(reason.contains("no TLS port (then redis:// instead of rediss://)"), "{reason}");
    });
}

#[test]
fn a_server_that_refuses_our_channels_is_down_with_the_reason() {
    run(async {
        let server = RedisServer::start(&["--user ann on >pw ~* resetchannels &socket.io* +@all"]);
        let reason = member(&format!("redis://ann:pw@127.0.0.1:{}", server.port), QUICK).down().await;
        assert!(reason.contains("SUBSCRIBE") && reason.contains("NOPERM"), "{reason}");
    });
}

#[test]
fn what_the_supervisor_publishes_is_confirmed_unless_the_server_refuses_it() {
    run(async {
        let mut server = RedisServer::start(&["--user ann on >pw ~* resetchannels &roomd-health* &allowed +@all"]);
        let one = member(&server.url(), QUICK);
        one.bus.subscribe("allowed");
        one.up().await;
        let monitor = BusMonitor::redis(format!("redis://ann:pw@127.0.0.1:{}", server.port), QUICK).unwrap();
        let publish = |channel: &str, payload: &str| monitor.publish(channel.into(), payload.into());
        let mut changes = monitor.changes();
        changes.wait_for(|health| health.up).await.unwrap();
        for number in 0..100 {
            assert_eq!(publish("allowed", &number.to_string()).await, Ok(()));
        }
        for number in 0..100 {
            assert_eq!(one.next().await, ("allowed".into(), number.to_string().into()));
        }
        let refused = publish("socket.io#/#", "x").await.unwrap_err();
        assert!(matches!(&refused, PublishError::Unconfirmed(_)) && refused.to_string().contains("refused a message"));
        server.stop();
        changes.wait_for(|health| !health.up).await.unwrap();
        assert!(matches!(publish("allowed", "x").await, Err(PublishError::Down(reason)) if !reason.is_empty()));
    });
}

#[test]
fn no_health_message_is_seen_by_a_node_server() {
    run(async {
        let server = RedisServer::start(&[]);
        let (one, two) = (member(&server.url(), QUICK), member(&server.url(), QUICK));
        one.bus.subscribe_prefix("socket.io");
        one.up().await;
        one.settle(&two).await;
        let probes = one.inbox.changes.borrow().len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((one.unread(), probes), (0, 1));
        let channels = server.run("PUBSUB CHANNELS *");
        assert_eq!(channels.matches("roomd-health#").count(), 2, "{channels}");
    });
}
