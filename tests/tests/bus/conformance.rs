//! What every bus promises. Channels carry the test's name: implementations may share one server.

use std::collections::HashMap;

use super::member::Member;

/// Runs the whole suite; `connect` makes one more process's access to the same bus.
pub async fn conforms(connect: impl Fn() -> Member) {
    let (one, two, three) = (connect(), connect(), connect());
    for member in [&one, &two, &three] {
        member.up().await;
    }
    comes_in_order(&one, &two).await;
    a_prefix_is_taken_literally(&one, &two).await;
    comes_once(&one, &two).await;
    ends_with_the_subscription(&one, &two).await;
    counts_subscribers(&one, &two, &three).await;
    carries_any_payload_and_channel(&one, &two).await;
    has_many_channels(&one, &two).await;
    all_talk_at_once(&[one, two, three]).await;
    tells_its_health(&connect()).await;
}

async fn comes_in_order(one: &Member, two: &Member) {
    one.bus.subscribe("order");
    one.settle(two).await;
    for number in 0..5_000u32 {
        two.bus.publish("order", &number.to_le_bytes());
        // Turns of all lengths.
        if number % 97 == 0 {
            two.bus.flush();
        }
    }
    two.bus.flush();
    for number in 0..5_000u32 {
        let (channel, payload) = one.next().await;
        assert_eq!((channel.as_str(), &payload[..]), ("order", &number.to_le_bytes()[..]));
    }
    one.bus.unsubscribe("order");
}

async fn a_prefix_is_taken_literally(one: &Member, two: &Member) {
    let prefix = "socket.io#/a*b?[c]\\^-#";
    one.bus.subscribe_prefix(prefix);
    one.settle(two).await;
    for other in
        ["socket.io#/aXb?[c]\\^-#", "socket.io#/a*bX[c]\\^-#", "socket.io#/a*b?c\\^-#", "socket.io#/a*b?[c]\\^-"]
    {
        two.bus.publish(other, b"not this");
    }
    two.bus.publish(prefix, b"bare");
    two.bus.publish(&format!("{prefix}room#"), b"below");
    two.bus.flush();
    assert_eq!(one.next().await, (prefix.to_owned(), "bare".into()));
    assert_eq!(one.next().await, (format!("{prefix}room#"), "below".into()));
    one.bus.unsubscribe_prefix(prefix);
    one.settle(two).await;
    assert_eq!(one.unread(), 0);
}

async fn comes_once(one: &Member, two: &Member) {
    one.bus.subscribe("once#room#");
    one.bus.subscribe("once#room#");
    one.bus.subscribe_prefix("once#");
    one.bus.subscribe_prefix("once#room");
    one.settle(two).await;
    let publish = |text: &'static str| {
        two.bus.publish("once#room#", text.as_bytes());
        two.bus.flush();
    };
    publish("by all");
    one.settle(two).await;
    one.bus.unsubscribe("once#room#");
    one.settle(two).await;
    publish("by prefixes");
    one.settle(two).await;
    one.bus.unsubscribe_prefix("once#");
    one.settle(two).await;
    publish("by the longer prefix");
    one.settle(two).await;
    for text in ["by all", "by prefixes", "by the longer prefix"] {
        assert_eq!(one.next().await, ("once#room#".to_owned(), text.into()));
    }
    assert_eq!(one.unread(), 0);
    one.bus.unsubscribe_prefix("once#room");
    one.settle(two).await;

    // While a subscription is being made and unmade next to a prefix, nothing is lost and nothing doubled.
    one.bus.subscribe_prefix("change#");
    one.settle(two).await;
    for number in 0..2_000u32 {
        match number % 3 {
            0 => one.bus.subscribe("change#room#"),
            1 => one.bus.unsubscribe("change#room#"),
            _ => {}
        }
        one.bus.flush();
        two.bus.publish("change#room#", &number.to_le_bytes());
        two.bus.flush();
        if number % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    one.settle(two).await;
    for number in 0..2_000u32 {
        assert_eq!(one.next().await.1, number.to_le_bytes().to_vec());
    }
    assert_eq!(one.unread(), 0);
    one.bus.unsubscribe("change#room#");
    one.bus.unsubscribe_prefix("change#");
}

async fn ends_with_the_subscription(one: &Member, two: &Member) {
    one.bus.subscribe("end");
    one.bus.subscribe("stay");
    one.settle(two).await;
    one.bus.unsubscribe("end");
    one.bus.unsubscribe("never was");
    one.settle(two).await;
    two.bus.publish("end", b"unwanted");
    two.bus.publish("stay", b"wanted");
    two.bus.flush();
    assert_eq!(one.next().await, ("stay".to_owned(), "wanted".into()));
    one.bus.unsubscribe("stay");
    one.settle(two).await;
    assert_eq!(one.unread(), 0);
}

async fn counts_subscribers(one: &Member, two: &Member, three: &Member) {
    let count = async |asker: &Member| asker.bus.count_subscribers("count#room#").await.unwrap();
    assert_eq!(count(one).await, 0);
    one.bus.subscribe("count#room#");
    one.bus.subscribe("count#room#");
    one.settle(two).await;
    assert_eq!((count(one).await, count(three).await), (1, 1));
    two.bus.subscribe("count#room#");
    three.bus.subscribe_prefix("count#");
    two.settle(one).await;
    three.settle(one).await;
    assert_eq!(count(three).await, 2);
    let members = one.bus.members("count#room#", "names#");
    one.bus.flush();
    assert_eq!(members.await.unwrap().count, 2);
    one.bus.unsubscribe("count#room#");
    one.settle(two).await;
    assert_eq!(count(two).await, 1);
    two.bus.unsubscribe("count#room#");
    three.bus.unsubscribe_prefix("count#");
}

async fn carries_any_payload_and_channel(one: &Member, two: &Member) {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut random = |len: usize| (0..len).map(|_| rng.u8(..)).collect::<Vec<u8>>();
    let payloads =
        [vec![], vec![0], b"\r\n$5\r\n*1".to_vec(), random(65_536), random(1_000_000), vec![], random(3_000_000)];
    let long = "long ".repeat(5_000);
    let channels = ["", " ", "a\r\nb", "größe#😀#", "\0", &long];
    for channel in channels {
        one.bus.subscribe(channel);
    }
    one.settle(two).await;
    for channel in channels {
        for payload in &payloads {
            two.bus.publish(channel, payload);
        }
    }
    two.bus.flush();
    for channel in channels {
        for payload in &payloads {
            let (from, came) = one.next().await;
            assert_eq!((from.as_str(), came.len()), (channel, payload.len()));
            assert!(came == payload);
        }
        one.bus.unsubscribe(channel);
    }
}

async fn has_many_channels(one: &Member, two: &Member) {
    let channels: Vec<String> = (0..5_000).map(|number| format!("many#{number}#")).collect();
    for channel in &channels {
        one.bus.subscribe(channel);
    }
    one.settle(two).await;
    for channel in &channels {
        two.bus.publish(channel, channel.as_bytes());
    }
    two.bus.flush();
    for channel in &channels {
        assert_eq!(one.next().await, (channel.clone(), channel.clone().into()));
    }
    for channel in &channels {
        one.bus.unsubscribe(channel);
    }
    one.settle(two).await;
    assert_eq!(one.bus.count_subscribers(&channels[77]).await, Ok(0));
}

/// Everyone publishes to everyone; each sees each other's messages in their order.
async fn all_talk_at_once(members: &[Member]) {
    for member in members {
        member.bus.subscribe("talk");
    }
    for member in members {
        for other in members.iter().filter(|other| !std::ptr::eq(*other, member)) {
            member.settle(other).await;
        }
    }
    for number in 0..1_000u32 {
        for (index, member) in members.iter().enumerate() {
            member.bus.publish("talk", &[&[index as u8][..], &number.to_le_bytes()].concat());
            if number % 50 == 0 {
                member.bus.flush();
                tokio::task::yield_now().await;
            }
        }
    }
    for (index, member) in members.iter().enumerate() {
        member.bus.flush();
        let mut next: HashMap<u8, u32> = HashMap::new();
        while (0..members.len() as u8).any(|other| other != index as u8 && next.get(&other) != Some(&1_000)) {
            let (_, payload) = member.next().await;
            let expected = next.entry(payload[0]).or_default();
            assert_eq!(payload[1..], expected.to_le_bytes(), "{index} from {}", payload[0]);
            *expected += 1;
        }
        member.bus.unsubscribe("talk");
    }
}

async fn tells_its_health(one: &Member) {
    one.up().await;
    let health = one.bus.health();
    assert!(health.reason.is_empty() && health.latency_ms.is_some_and(|latency| latency < 10_000.0), "{health:?}");
    assert!(health.since_unix_ms > 0);
    assert_eq!(one.inbox.changes.borrow().len(), 1);
    assert_eq!(one.bus.counters().dropped, 0);
}
