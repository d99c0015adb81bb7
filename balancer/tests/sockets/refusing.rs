//! Answers that the balancer gives itself, to clients that do not make it easy.

use std::time::Duration;

use roomd_balancer::{BalancerConfig, Refusal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::{Worker, World, config, eventually, finish, read_all, run, worker_id};

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn answer_to(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut client = world.connect().await;
    client.write_all(bytes).await.unwrap();
    read_all(&mut client).await
}

#[test]
fn what_is_no_request_is_answered_with_400() {
    run(async {
        let world = World::new(config());
        Worker::ready(&world.balancer, worker_id(0, 1)).serve();
        let bad: [&[u8]; 5] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x00",
            b"hello\r\n\r\n",
            b"GET / HTTP/3.0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        for bytes in bad {
            assert_eq!(answer_to(&world, bytes).await, Refusal::BadRequest.response().into_bytes(), "{bytes:?}");
        }
        let mut broken = world.connect().await;
        broken.write_all(&HEAD[..10]).await.unwrap();
        broken.shutdown().await.unwrap();
        assert_eq!(read_all(&mut broken).await, Refusal::BadRequest.response().into_bytes());
        assert_eq!(world.refused(Refusal::BadRequest), bad.len() as u64 + 1);
        eventually("nothing is left", || world.balancer.stats().open == 0).await;
    });
}

#[test]
fn an_oversize_head_is_answered_with_431_though_its_client_goes_on_sending() {
    run(async {
        let world = World::new(config());
        Worker::ready(&world.balancer, worker_id(0, 1)).serve();
        let mut client = world.connect().await;
        client.write_all(b"GET / HTTP/1.1\r\ncookie: ").await.unwrap();
        let (mut reading, mut writing) = client.split();
        let send = async {
            for _ in 0..200 {
                writing.write_all(&[b'c'; 1000]).await.unwrap();
                tokio::task::yield_now().await;
            }
            writing.shutdown().await.unwrap();
        };
        let ((), answer) = tokio::join!(send, read_all(&mut reading));
        assert_eq!(answer, Refusal::HeadTooLarge.response().into_bytes());
    });
}

#[test]
fn slow_heads_are_answered_with_408_and_cost_no_worker_anything() {
    run(async {
        let world = World::new(BalancerConfig { head_timeout: Duration::from_millis(300), ..config() });
        Worker::ready(&world.balancer, worker_id(0, 1)).serve();
        let mut clients = Vec::new();
        let beginnings = 0..HEAD.len() - 1;
        for sent in beginnings.clone() {
            let mut client = world.connect().await;
            client.write_all(&HEAD[..sent]).await.unwrap();
            clients.push(client);
        }
        world.heads_awaited(clients.len() as u64).await;
        for (client, sent) in clients.iter_mut().zip(beginnings) {
            // One more byte gives no more time. (The answer may be there already.)
            let _ = client.write_all(&HEAD[sent..=sent]).await;
            assert_eq!(read_all(client).await, Refusal::HeadTimeout.response().into_bytes());
        }
        assert_eq!(world.refused(Refusal::HeadTimeout), clients.len() as u64);
        assert_eq!(world.balancer.connections(worker_id(0, 1)), 0);
        eventually("nothing is left", || world.balancer.stats().open == 0).await;
    });
}

#[test]
fn a_client_that_leaves_before_its_head_leaves_nothing_behind() {
    run(async {
        let world = World::new(config());
        let clients = [world.connect().await, world.connect().await];
        world.heads_awaited(2).await;
        drop(clients);
        eventually("nothing is left", || world.balancer.stats().open == 0).await;
        assert_eq!(world.balancer.stats().refused.iter().map(|(_, count)| count).sum::<u64>(), 0);
    });
}

#[test]
fn a_wait_for_a_worker_in_vain_ends_with_503() {
    run(async {
        let world = World::new(BalancerConfig { worker_wait: Duration::from_millis(200), max_waiting: 2, ..config() });
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let mut client = world.connect().await;
            client.write_all(HEAD).await.unwrap();
            waiting.push(client);
        }
        eventually("two wait", || world.balancer.stats().waiting_for_worker == 2).await;
        // One too many: at once.
        let expected = Refusal::NoWorker.response().into_bytes();
        assert_eq!(answer_to(&world, HEAD).await, expected);
        assert_eq!(world.balancer.stats().waiting_for_worker, 2);
        for mut client in waiting {
            assert_eq!(read_all(&mut client).await, expected);
        }
        assert_eq!(world.balancer.stats().open, 0);
    });
}

#[test]
fn who_waits_is_served_when_the_first_worker_is_ready_and_answered_when_the_balancer_stops() {
    run(async {
        let world = World::new(config());
        let mut early = world.connect().await;
        early.write_all(HEAD).await.unwrap();
        eventually("it waits", || world.balancer.stats().waiting_for_worker == 1).await;
        let worker = Worker::ready(&world.balancer, worker_id(0, 1));
        worker.serve();
        assert_eq!(finish(early).await.worker, "0.1");

        world.balancer.drain_worker(worker_id(0, 1));
        let mut late = world.connect().await;
        late.write_all(HEAD).await.unwrap();
        eventually("it waits", || world.balancer.stats().waiting_for_worker == 1).await;
        world.balancer.stop();
        assert_eq!(read_all(&mut late).await, Refusal::NoWorker.response().into_bytes());
        let refused = async || TcpStream::connect(world.address).await.is_err();
        while !refused().await {}
    });
}

#[test]
fn too_many_connections_are_told_so() {
    run(async {
        let world = World::new(BalancerConfig { max_connections: 2, ..config() });
        Worker::ready(&world.balancer, worker_id(0, 1)).serve();
        let mut first = world.connect().await;
        first.write_all(HEAD).await.unwrap();
        let _second = world.connect().await;
        eventually("both count", || world.balancer.stats().open == 2).await;
        assert_eq!(answer_to(&world, HEAD).await, Refusal::Limit.response().into_bytes());
        assert_eq!(finish(first).await.worker, "0.1");
        eventually("there is room again", || world.balancer.stats().open == 1).await;
        let mut third = world.connect().await;
        third.write_all(HEAD).await.unwrap();
        assert_eq!(finish(third).await.worker, "0.1");
    });
}

#[test]
fn an_address_with_too_many_connections_is_told_so_unless_it_is_a_trusted_proxy() {
    for trusted in [false, true] {
        run(async {
            let trusted_proxies = if trusted { vec!["127.0.0.0/8".parse().unwrap()] } else { vec![] };
            let world = World::new(BalancerConfig { max_connections_per_address: 1, trusted_proxies, ..config() });
            Worker::ready(&world.balancer, worker_id(0, 1)).serve();
            let _first = world.connect().await;
            world.heads_awaited(1).await;
            let mut second = world.connect().await;
            second.write_all(HEAD).await.unwrap();
            match trusted {
                true => assert_eq!(finish(second).await.worker, "0.1"),
                false => assert_eq!(read_all(&mut second).await, Refusal::AddressLimit.response().into_bytes()),
            }
        });
    }
}

#[test]
fn a_refused_client_that_never_leaves_is_left_in_the_end() {
    run(async {
        let world = World::new(config());
        let mut client = world.connect().await;
        client.write_all(b"\0").await.unwrap();
        let expected = Refusal::BadRequest.response();
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, expected.as_bytes());
        // It neither reads on nor closes; when the balancer has closed, what it sends is answered with a reset.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while client.write_all(b"more").await.is_ok() {
            assert!(tokio::time::Instant::now() < deadline, "the balancer holds the connection for ever");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
