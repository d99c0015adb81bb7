//! Where connections go.

use tokio::io::AsyncWriteExt;

use crate::world::{Worker, World, config, finish, run, sid_of, worker_id};

fn four_workers(world: &World) {
    for slot in 0..4 {
        Worker::ready(&world.balancer, worker_id(slot, 1)).serve();
    }
}

#[test]
fn a_head_cut_anywhere_reaches_its_home_whole() {
    run(async {
        let world = World::new(config());
        four_workers(&world);
        let sid = sid_of(worker_id(2, 1));
        let request = format!(
            "POST /socket.io/?EIO=4&xsid={}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n4\0\u{e9}",
            sid_of(worker_id(3, 1))
        );
        let head = request.find("\r\n\r\n").unwrap() + 4;
        for cut in 0..head {
            let mut client = world.connect().await;
            client.write_all(&request.as_bytes()[..cut]).await.unwrap();
            world.heads_awaited(1).await;
            client.write_all(&request.as_bytes()[cut..]).await.unwrap();
            let echo = finish(client).await;
            assert_eq!((echo.worker.as_str(), echo.read.as_slice()), ("2.1", request.as_bytes()), "cut at {cut}");
        }
        assert_eq!(world.balancer.stats().handed_over, head as u64);
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_is_as_good() {
    run(async {
        let world = World::new(config());
        four_workers(&world);
        let request = format!("GET /socket.io/?EIO=4&sid={} HTTP/1.0\r\n\r\n", sid_of(worker_id(1, 1)));
        let mut client = world.connect().await;
        client.set_nodelay(true).unwrap();
        for byte in request.bytes() {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let echo = finish(client).await;
        assert_eq!((echo.worker.as_str(), echo.read.as_slice()), ("1.1", request.as_bytes()));
    });
}

#[test]
fn pipelined_requests_stay_together_and_go_where_the_first_belongs() {
    run(async {
        let world = World::new(config());
        four_workers(&world);
        let of = |slot| format!("GET /socket.io/?sid={} HTTP/1.1\r\nHost: x\r\n\r\n", sid_of(worker_id(slot, 1)));
        let requests = [of(3), of(0), of(1)].concat();
        let mut client = world.connect().await;
        client.write_all(requests.as_bytes()).await.unwrap();
        let echo = finish(client).await;
        assert_eq!((echo.worker.as_str(), echo.read.as_slice()), ("3.1", requests.as_bytes()));
    });
}

#[test]
fn new_sessions_are_spread_by_live_connections() {
    run(async {
        let world = World::new(config());
        four_workers(&world);
        let mut clients = Vec::new();
        for _ in 0..40 {
            let mut client = world.connect().await;
            client.write_all(b"GET /socket.io/?EIO=4 HTTP/1.1\r\n\r\n").await.unwrap();
            clients.push(client);
        }
        let live = |slot| world.balancer.connections(worker_id(slot, 1));
        crate::world::eventually("all are there", || (0..4).map(live).sum::<usize>() == 40).await;
        assert_eq!([live(0), live(1), live(2), live(3)], [10; 4]);
        for client in clients {
            finish(client).await;
        }
        crate::world::eventually("all have ended", || world.balancer.stats().open == 0).await;
        assert_eq!([live(0), live(1), live(2), live(3)], [0; 4]);
    });
}

#[test]
fn a_draining_worker_keeps_its_sessions_and_gets_no_others() {
    run(async {
        let world = World::new(config());
        for generation in 1..=2 {
            Worker::ready(&world.balancer, worker_id(0, generation)).serve();
        }
        world.balancer.drain_worker(worker_id(0, 1));
        for (target, expected) in [
            (format!("/?sid={}", sid_of(worker_id(0, 1))), "0.1"),
            (format!("/?sid={}", sid_of(worker_id(0, 2))), "0.2"),
            ("/".into(), "0.2"),
            (format!("/?sid={}", sid_of(worker_id(7, 1))), "0.2"),
        ] {
            let mut client = world.connect().await;
            client.write_all(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
            assert_eq!(finish(client).await.worker, expected, "{target}");
        }
    });
}
