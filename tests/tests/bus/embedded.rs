//! The embedded bus over a real hub.

use std::time::Duration;

use roomd::hub::{Hub, HubHandle};
use roomd_wire::{Generation, Slot, WorkerId};
use roomd_worker::bus::{BusMonitor, EmbeddedBus, HealthTiming, PublishError};

use super::{conformance::conforms, member::Member, run};

const QUICK: HealthTiming = HealthTiming { interval: Duration::from_millis(50), deadline: Duration::from_secs(5) };

fn member(hub: &HubHandle) -> Member {
    let id = WorkerId { slot: Slot(fastrand::u16(..)), generation: Generation(1) };
    let stream = hub.add_worker(id).unwrap();
    Member::new(|inbox| EmbeddedBus::new(stream, QUICK, inbox).unwrap())
}

#[test]
fn the_embedded_bus_conforms() {
    run(async {
        let (hub, _events) = Hub::start().unwrap();
        conforms(|| member(&hub)).await;
    });
}

#[test]
fn a_bus_without_its_hub_is_down_and_drops_and_counts() {
    run(async {
        let (hub, _events) = Hub::start().unwrap();
        let one = member(&hub);
        one.up().await;
        drop(hub);
        assert_eq!(one.down().await, "the supervisor's hub closed the stream");
        one.bus.publish("a", b"b");
        one.bus.flush();
        assert_eq!(one.bus.counters().dropped, 1);
        assert!(one.bus.count_subscribers("a").await.is_err());
    });
}

#[test]
fn the_supervisors_own_look_follows_the_hub() {
    run(async {
        let (hub, _events) = Hub::start().unwrap();
        let monitor = BusMonitor::embedded(hub.add_observer().unwrap(), QUICK).unwrap();
        let mut changes = monitor.changes();
        let state = async |changes: &mut tokio::sync::watch::Receiver<roomd_wire::BusHealth>, up: bool| {
            let wait = changes.wait_for(|health| health.up == up);
            tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap().unwrap().clone()
        };
        assert!(state(&mut changes, true).await.latency_ms.is_some());
        // It is no worker, but it can publish, in order.
        assert_eq!(hub.stats().workers, 0);
        let one = member(&hub);
        one.bus.subscribe("orders");
        one.up().await;
        for number in 0..100 {
            assert_eq!(monitor.publish("orders".into(), number.to_string().into()).await, Ok(()));
        }
        for number in 0..100 {
            assert_eq!(one.next().await, ("orders".into(), number.to_string().into()));
        }
        drop(hub);
        assert!(state(&mut changes, false).await.reason.contains("hub closed"));
        let refused = monitor.publish("orders".into(), b"x".into()).await;
        assert!(matches!(refused, Err(PublishError::Down(reason)) if reason.contains("hub closed")));
    });
}

/// What is published without a `flush` still goes, and a subscription that was flushed is seen by what is published then.
#[test]
fn a_flushed_subscription_is_seen_at_once() {
    run(async {
        let (hub, _events) = Hub::start().unwrap();
        let (one, two) = (member(&hub), member(&hub));
        for number in 0..3_000 {
            let channel = format!("room {number}");
            one.bus.subscribe(&channel);
            one.bus.flush();
            two.bus.publish(&channel, b"hello");
            if number % 2 == 0 {
                two.bus.flush();
            }
            assert_eq!(one.next().await, (channel, "hello".into()));
        }
    });
}

/// A supervisor that stands still for long, while clients join ever new rooms: memory has a bound, and what ends at it is seen.
#[test]
fn a_hub_that_never_reads_is_left_when_subscriptions_pile_up() {
    run(async {
        let (mut hub, stream) = std::os::unix::net::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let one = Member::new(|inbox| EmbeddedBus::new(stream.into(), QUICK, inbox).unwrap());
        for number in 0..64 {
            one.bus.publish("room", &vec![number; 2 * 1024 * 1024]);
        }
        let dropped = one.bus.counters().dropped;
        assert!((20..40).contains(&dropped), "{dropped}");
        for number in 0..64 {
            one.bus.subscribe(&number.to_string().repeat(1_000_000));
        }
        one.down().await;
        one.bus.publish("room", b"lost");
        assert_eq!(one.bus.counters().dropped, dropped + 1);
        // The hub sees the end once it reads again.
        std::io::copy(&mut hub, &mut std::io::sink()).unwrap();
    });
}
