//! The kinds of listeners.

use std::os::unix::fs::FileTypeExt;

use roomd_balancer::{ListenAddress, Listener};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
    task::spawn_local,
};

use crate::world::{Worker, World, config, finish, listen, listen_tcp, run, worker_id};

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn clients_of_all_kinds_of_listeners_are_served_side_by_side() {
    run(async {
        let world = World::new(config());
        Worker::ready(&world.balancer, worker_id(0, 1)).serve();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.sock");
        listen(&world.balancer, &ListenAddress::Unix(path.clone()));
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());

        let mut addresses = vec![world.address];
        // A host may have no IPv6.
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            addresses.push(listen_tcp(&world.balancer, "[::1]:0"));
        }
        for address in addresses {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(HEAD).await.unwrap();
            let from = client.local_addr().unwrap().to_string();
            let echo = finish(client).await;
            assert_eq!((echo.peer, echo.read.as_slice()), (from, HEAD));
        }
        for cut in [0, 5, HEAD.len()] {
            let mut client = UnixStream::connect(&path).await.unwrap();
            client.write_all(&HEAD[..cut]).await.unwrap();
            if cut < HEAD.len() {
                world.heads_awaited(1).await;
            }
            client.write_all(&HEAD[cut..]).await.unwrap();
            let echo = finish(client).await;
            assert_eq!((echo.peer.as_str(), echo.read.as_slice()), ("unix", HEAD));
        }
    });
}

#[test]
fn an_adopted_listener_is_served() {
    run(async {
        let world = World::new(config());
        Worker::ready(&world.balancer, worker_id(0, 1)).serve();
        let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = inherited.local_addr().unwrap();
        // Connected before it is adopted: it waits in the backlog.
        let early = std::net::TcpStream::connect(address).unwrap();
        spawn_local(world.balancer.clone().serve(Listener::adopt(inherited.into()).unwrap()));
        early.set_nonblocking(true).unwrap();
        for mut client in [TcpStream::from_std(early).unwrap(), TcpStream::connect(address).await.unwrap()] {
            client.write_all(HEAD).await.unwrap();
            assert_eq!(finish(client).await.worker, "0.1");
        }
    });
}

#[test]
fn a_listener_whose_serving_is_dropped_is_closed() {
    run(async {
        let world = World::new(config());
        let listener = Listener::bind(&ListenAddress::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let ListenAddress::Tcp(address) = listener.local_address().unwrap() else { unreachable!() };
        let serving = spawn_local(world.balancer.clone().serve(listener));
        drop(TcpStream::connect(address).await.unwrap());
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        assert!(TcpStream::connect(address).await.is_err());
    });
}
