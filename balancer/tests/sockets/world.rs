//! A balancer, workers that do what a test asks, and clients that send raw bytes.

use std::{future::Future, net::SocketAddr, os::fd::OwnedFd, rc::Rc, time::Duration};

use roomd_balancer::{Balancer, BalancerConfig, ListenAddress, Listener, Refusal, WorkerLink};
use roomd_wire::{ConnectionId, Generation, Link, PeerAddress, Sid, SidHome, Slot, ToSupervisor, ToWorker, WorkerId};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::spawn_local,
};

pub const HOST: u16 = 3;

type WorkerEnd = Link<ToSupervisor, ToWorker>;

/// Runs a test in the kind of runtime that the supervisor has, for a bounded time.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs") };
    runtime.block_on(tokio::task::LocalSet::new().run_until(bounded));
}

pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}

pub fn worker_id(slot: u16, generation: u32) -> WorkerId {
    WorkerId { slot: Slot(slot), generation: Generation(generation) }
}

/// A session id that names the worker as its home.
pub fn sid_of(worker: WorkerId) -> String {
    Sid::new(SidHome { host: HOST, worker }, [0x5a; 15]).to_string()
}

pub fn config() -> BalancerConfig {
    BalancerConfig {
        host: HOST,
        max_connections: 10_000,
        max_connections_per_address: 10_000,
        trusted_proxies: vec![],
        head_timeout: Duration::from_secs(30),
        worker_wait: Duration::from_secs(30),
        max_waiting: 1000,
    }
}

pub struct World {
    pub balancer: Rc<Balancer>,
    pub address: SocketAddr,
}

impl World {
    /// A balancer that listens on a TCP port of its own.
    pub fn new(config: BalancerConfig) -> World {
        let balancer = Balancer::new(config);
        let address = listen_tcp(&balancer, "127.0.0.1:0");
        World { balancer, address }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.balancer.stats().refused.into_iter().find(|(cause, _)| *cause == refusal).unwrap().1
    }

    pub async fn heads_awaited(&self, count: u64) {
        eventually("the balancer waits for heads", || self.balancer.stats().waiting_for_head == count).await;
    }
}

/// Listens on one more address; gives the one it really has.
pub fn listen_tcp(balancer: &Rc<Balancer>, address: &str) -> SocketAddr {
    match listen(balancer, &ListenAddress::Tcp(address.parse().unwrap())) {
        ListenAddress::Tcp(address) => address,
        ListenAddress::Unix(path) => unreachable!("{}", path.display()),
    }
}

/// As [`listen_tcp`], on any kind of address.
pub fn listen(balancer: &Rc<Balancer>, address: &ListenAddress) -> ListenAddress {
    let listener = Listener::bind(address).unwrap();
    let address = listener.local_address().unwrap();
    spawn_local(balancer.clone().serve(listener));
    address
}

/// A connection that a worker was given.
pub struct Given {
    pub id: ConnectionId,
    pub peer: PeerAddress,
    pub moved: bool,
    pub read: Vec<u8>,
    pub socket: OwnedFd,
}

/// The worker's end of a control socket, and what the supervisor does at its own end.
pub struct Worker {
    pub id: WorkerId,
    link: WorkerEnd,
}

impl Worker {
    pub fn ready(balancer: &Rc<Balancer>, id: WorkerId) -> Worker {
        let (ours, theirs) = WorkerLink::pair().unwrap();
        let link = Rc::new(ours);
        balancer.add_worker(id, link.clone());
        spawn_local(supervise(balancer.clone(), id, link));
        Worker { id, link: WorkerEnd::new(theirs).unwrap() }
    }

    pub async fn take(&self) -> Given {
        match self.link.recv().await.unwrap().expect("the supervisor is there") {
            (ToWorker::Connection { id, peer, moved, read }, mut sockets) => {
                Given { id, peer, moved, read, socket: sockets.pop().unwrap() }
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    pub async fn say(&self, message: ToSupervisor) {
        self.link.send(&message, &[]).await.unwrap();
    }

    pub async fn move_away(&self, given: Given, to: Option<WorkerId>, read: &[u8]) {
        let message = ToSupervisor::Move { id: given.id, to, read: read.to_vec() };
        self.link.send(&message, &[std::os::fd::AsFd::as_fd(&given.socket)]).await.unwrap();
    }

    /// Serves for ever: reads all that a client sends, and answers with its own name, where the client is, and what it read.
    pub fn serve(self) {
        let worker = Rc::new(self);
        spawn_local(async move {
            loop {
                let given = worker.take().await;
                worker.say(ToSupervisor::Accepted { id: given.id }).await;
                spawn_local(echo(worker.clone(), given));
            }
        });
    }
}

async fn echo(worker: Rc<Worker>, given: Given) {
    let (id, name) = (given.id, worker.id);
    let Given { peer, mut read, socket, .. } = given;
    // Unix and TCP sockets are read alike.
    let mut stream = UnixStream::from_std(socket.into()).unwrap();
    let _ = stream.read_to_end(&mut read).await;
    let _ = stream.write_all(format!("{name} {peer} ").as_bytes()).await;
    let _ = stream.write_all(&read).await;
    // A `close` alone would not end it while another descriptor of it is on its way somewhere.
    let _ = stream.shutdown().await;
    worker.say(ToSupervisor::Closed { id }).await;
}

async fn supervise(balancer: Rc<Balancer>, id: WorkerId, link: Rc<WorkerLink>) {
    while let Ok(Some((message, mut descriptors))) = link.recv().await {
        match message {
            ToSupervisor::Accepted { id: connection } => balancer.accepted(id, connection),
            ToSupervisor::Closed { id: connection } => balancer.closed(id, connection),
            ToSupervisor::Move { id: connection, to, read } => {
                balancer.moved(id, connection, to, read, descriptors.pop().unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    balancer.remove_worker(id);
}

/// What the serving worker answered: its name, where it believes the client, what it read.
pub struct Echo {
    pub worker: String,
    pub peer: String,
    pub read: Vec<u8>,
}

/// Ends the client's side and reads the worker's answer.
pub async fn finish(mut client: impl AsyncRead + AsyncWrite + Unpin) -> Echo {
    client.shutdown().await.unwrap();
    let answer = read_all(&mut client).await;
    let mut parts = answer.splitn(3, |&byte| byte == b' ').map(<[u8]>::to_vec);
    let mut text = || String::from_utf8(parts.next().unwrap()).unwrap();
    Echo { worker: text(), peer: text(), read: parts.next().unwrap() }
}

pub async fn read_all(client: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    answer
}
