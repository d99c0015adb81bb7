//! Workers that die, move connections away, or do not keep up.

use roomd_balancer::Refusal;
use roomd_wire::{PeerAddress, ToSupervisor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::{Worker, World, config, eventually, finish, read_all, run, sid_of, worker_id};

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn request(world: &World) -> TcpStream {
    let mut client = world.connect().await;
    client.write_all(HEAD).await.unwrap();
    client
}

#[test]
fn a_client_whose_worker_dies_before_it_acknowledges_is_served_by_another() {
    run(async {
        let world = World::new(config());
        let doomed = Worker::ready(&world.balancer, worker_id(0, 1));
        let client = request(&world).await;
        let given = doomed.take().await;
        Worker::ready(&world.balancer, worker_id(1, 1)).serve();
        drop((given, doomed));
        let echo = finish(client).await;
        assert_eq!((echo.worker.as_str(), echo.read.as_slice()), ("1.1", HEAD));
        assert_eq!(world.balancer.stats().handed_over_again, 1);
        assert_eq!(world.balancer.stats().handed_over, 1);
    });
}

#[test]
fn what_a_dead_worker_still_said_counts() {
    run(async {
        let world = World::new(config());
        let doomed = Worker::ready(&world.balancer, worker_id(0, 1));
        Worker::ready(&world.balancer, worker_id(1, 1)).serve();
        world.balancer.drain_worker(worker_id(1, 1));
        let mut taken = request(&world).await;
        let given = doomed.take().await;
        // Both are in the socket before the supervisor reads either.
        doomed.say(ToSupervisor::Accepted { id: given.id }).await;
        drop((given, doomed));
        let mut answer = Vec::new();
        // The reset of a connection whose bytes nobody read is an end too.
        let _ = taken.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "it ended with its worker, and was not given to another");
        eventually("nothing is left", || world.balancer.stats().open == 0).await;
        assert_eq!(world.balancer.stats().handed_over_again, 0);
    });
}

#[test]
fn clients_of_the_last_worker_wait_for_the_next() {
    run(async {
        let world = World::new(config());
        let doomed = Worker::ready(&world.balancer, worker_id(0, 1));
        let clients = [request(&world).await, request(&world).await];
        eventually("both are assigned", || world.balancer.connections(worker_id(0, 1)) == 2).await;
        drop(doomed);
        eventually("both wait", || world.balancer.stats().waiting_for_worker == 2).await;
        Worker::ready(&world.balancer, worker_id(0, 2)).serve();
        for client in clients {
            assert_eq!(finish(client).await.worker, "0.2");
        }
    });
}

#[test]
fn a_connection_that_every_worker_dies_with_is_given_up() {
    run(async {
        let world = World::new(config());
        let mut client = request(&world).await;
        for generation in 1..=4 {
            let doomed = Worker::ready(&world.balancer, worker_id(0, generation));
            doomed.take().await;
        }
        assert_eq!(read_all(&mut client).await, Refusal::NoWorker.response().into_bytes());
        assert_eq!(world.balancer.stats().open, 0);
    });
}

#[test]
fn after_the_acknowledgement_the_worker_holds_the_only_descriptor() {
    run(async {
        let world = World::new(config());
        let worker = Worker::ready(&world.balancer, worker_id(0, 1));
        let mut client = request(&world).await;
        let given = worker.take().await;
        worker.say(ToSupervisor::Accepted { id: given.id }).await;
        eventually("it is acknowledged", || world.balancer.stats().handed_over == 1).await;
        // Reads what was sent, so that the close is no reset; no `shutdown`: only the last descriptor ends a connection.
        let mut buffer = [0; 100];
        let (_, length) = rustix::net::recv(&given.socket, &mut buffer[..], rustix::net::RecvFlags::empty()).unwrap();
        assert_eq!(&buffer[..length], HEAD);
        drop(given.socket);
        assert!(read_all(&mut client).await.is_empty());
        worker.say(ToSupervisor::Closed { id: given.id }).await;
        eventually("it has ended", || world.balancer.stats().open == 0).await;
    });
}

#[test]
fn a_moved_connection_arrives_with_what_was_read_and_where_its_client_is() {
    run(async {
        let world = World::new(config());
        let from = Worker::ready(&world.balancer, worker_id(0, 1));
        let to = Worker::ready(&world.balancer, worker_id(1, 1));
        let target = format!("GET /?sid={} HTTP/1.1\r\n\r\n", sid_of(worker_id(0, 1)));
        let (owner, in_its_place, gone) = (worker_id(1, 1), worker_id(1, 7), worker_id(5, 1));
        for (wanted, alive) in [(Some(owner), true), (Some(in_its_place), false), (Some(gone), false), (None, false)] {
            let mut client = world.connect().await;
            client.write_all(target.as_bytes()).await.unwrap();
            let given = from.take().await;
            from.say(ToSupervisor::Accepted { id: given.id }).await;
            let id = given.id;
            let expected = PeerAddress::Ip([127, 0, 0, 1].into(), client.local_addr().unwrap().port());
            if !alive {
                // Else it could be chosen itself.
                world.balancer.drain_worker(worker_id(0, 1));
            }
            from.move_away(given, wanted, b"GET /upgrade").await;
            let given = to.take().await;
            assert_eq!((given.id, given.peer, given.moved), (id, expected, true));
            assert_eq!(given.read, b"GET /upgrade");
            to.say(ToSupervisor::Accepted { id }).await;
            to.say(ToSupervisor::Closed { id }).await;
            eventually("it has ended", || world.balancer.stats().open == 0).await;
        }
        assert_eq!(world.balancer.stats().moved, 4);
    });
}

#[test]
fn a_connection_of_which_too_much_was_read_to_be_moved_is_answered_here() {
    run(async {
        let world = World::new(config());
        let from = Worker::ready(&world.balancer, worker_id(0, 1));
        let mut client = request(&world).await;
        let given = from.take().await;
        from.say(ToSupervisor::Accepted { id: given.id }).await;
        let read = vec![b'x'; roomd_wire::MAX_MESSAGE_BYTES - 512];
        from.move_away(given, Some(worker_id(0, 1)), &read).await;
        assert_eq!(read_all(&mut client).await, Refusal::HeadTooLarge.response().into_bytes());
        assert_eq!(world.balancer.stats().open, 0);
    });
}

#[test]
fn a_worker_that_dies_with_a_moved_connection_passes_on_what_was_read() {
    run(async {
        let world = World::new(config());
        let from = Worker::ready(&world.balancer, worker_id(0, 1));
        let to = Worker::ready(&world.balancer, worker_id(1, 1));
        let mut client = world.connect().await;
        client.write_all(format!("GET /?sid={} HTTP/1.1\r\n\r\n", sid_of(worker_id(0, 1))).as_bytes()).await.unwrap();
        let given = from.take().await;
        from.say(ToSupervisor::Accepted { id: given.id }).await;
        from.move_away(given, Some(worker_id(1, 1)), b"read before").await;
        to.take().await;
        drop(to);
        let given = from.take().await;
        assert!(given.moved);
        assert_eq!(given.read, b"read before");
    });
}

#[test]
fn a_worker_that_does_not_keep_up_gets_all_in_order_and_when_removed_keeps_nothing() {
    // More than fit into a control socket.
    const CLIENTS: usize = 700;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    run(async {
        let world = World::new(config());
        let slow = Worker::ready(&world.balancer, worker_id(0, 1));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(request(&world).await);
        }
        eventually("all are assigned", || world.balancer.connections(worker_id(0, 1)) == CLIENTS).await;
        let mut last = None;
        for _ in 0..CLIENTS / 2 {
            let given = slow.take().await;
            slow.say(ToSupervisor::Accepted { id: given.id }).await;
            assert!(last < Some(given.id), "{:?} after {last:?}", given.id);
            last = Some(given.id);
        }
        eventually("these are acknowledged", || world.balancer.stats().handed_over == CLIENTS as u64 / 2).await;
        // It never reads another message. Its end stays open, as when something that it has started still holds it.
        world.balancer.remove_worker(worker_id(0, 1));
        Worker::ready(&world.balancer, worker_id(1, 1)).serve();
        let mut served = 0;
        for mut client in clients {
            let mut answer = Vec::new();
            // The slow one has left its own unread: those are reset.
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut answer).await;
            served += usize::from(answer.starts_with(b"1.1 "));
        }
        assert_eq!(served, CLIENTS - CLIENTS / 2);
        drop(slow);
    });
}
