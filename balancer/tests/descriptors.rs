//! Accepting when the process has no descriptor left. A process of its own, because the limit is one for the whole process.

#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use roomd_balancer::{Balancer, BalancerConfig, ListenAddress, Listener, Refusal, WorkerLink};
use roomd_wire::{Generation, Link, Slot, ToSupervisor, ToWorker, WorkerId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn clients_are_told_when_descriptors_have_run_out_and_served_when_there_are_some_again() {
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(30), run_out()).await.expect("the test hangs") };
    runtime.block_on(tokio::task::LocalSet::new().run_until(bounded));
}

/// Two shortages: the balancer's, which cannot accept, and a worker's, which cannot take what it is handed.
async fn run_out() {
    let balancer = Balancer::new(BalancerConfig {
        host: 0,
        max_connections: 100,
        max_connections_per_address: 100,
        trusted_proxies: vec![],
        head_timeout: Duration::from_secs(10),
        worker_wait: Duration::from_secs(10),
        max_waiting: 10,
    });
    let listener = Listener::bind(&ListenAddress::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let ListenAddress::Tcp(address) = listener.local_address().unwrap() else { unreachable!() };
    tokio::task::spawn_local(balancer.clone().serve(listener));
    let (link, theirs) = WorkerLink::pair().unwrap();
    let id = WorkerId { slot: Slot(0), generation: Generation(1) };
    balancer.add_worker(id, link.into());
    let worker = Link::<ToSupervisor, ToWorker>::new(theirs).unwrap();

    // The clients are of this process too: their descriptors have to be there before.
    let mut clients: Vec<Socket> = (0..7).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let hogs = take_all();
    let (late, last) = (clients.pop().unwrap(), clients.pop().unwrap());
    // Kept open to the end: each that is closed would leave a descriptor for the next.
    let mut answered = Vec::new();
    for client in clients {
        let (answer, client) = tokio::task::spawn_blocking(move || exchange(client, address)).await.unwrap();
        assert_eq!(answer, Refusal::OutOfDescriptors.response());
        answered.push(client);
    }
    assert_eq!(refused(&balancer), 5);
    assert_eq!(balancer.stats().accepted, 0);

    drop(hogs);
    let served = tokio::task::spawn_blocking(move || exchange(late, address));
    let (message, descriptors) = worker.recv().await.unwrap().unwrap();
    let ToWorker::Connection { id: connection, .. } = message else { panic!("{message:?}") };
    balancer.accepted(id, connection);
    let mut client = TcpStream::from(descriptors.into_iter().next().unwrap());
    client.write_all(b"served").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(served.await.unwrap().0, "served");

    let unlucky = tokio::task::spawn_blocking(move || exchange(last, address));
    while balancer.connections(id) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _hogs = take_all();
    let (message, descriptors) = worker.recv().await.unwrap().unwrap();
    assert!(descriptors.is_empty());
    let ToWorker::Connection { id: connection, .. } = message else { panic!("{message:?}") };
    balancer.closed(id, connection);
    assert_eq!(unlucky.await.unwrap().0, Refusal::OutOfDescriptors.response());
    assert_eq!((refused(&balancer), balancer.connections(id)), (6, 1));
}

fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn refused(balancer: &Balancer) -> u64 {
    let refused = balancer.stats().refused;
    refused.into_iter().find(|(cause, _)| *cause == Refusal::OutOfDescriptors).unwrap().1
}

/// Sends a request and reads the answer to its end.
fn exchange(client: Socket, address: SocketAddr) -> (String, TcpStream) {
    client.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(HEAD).unwrap();
    (std::io::read_to_string(&mut client).unwrap(), client)
}
