//! Clients with the MessagePack parser.

use roomd_wire::ParserConfig;

use super::*;
use crate::{
    protocol::{Binary, Data, PacketType, Parser, assembly::Complete, msgpack},
    socketio::{Ack, Args},
};

fn cluster(routing: Routing, workers: u16) -> Cluster {
    let config = SocketIoConfig { parser: ParserConfig::Msgpack, ..SocketIoConfig::default() };
    Cluster::with(&config, routing, workers, || {
        App::new().namespace("/", |namespace| {
            namespace.on("echo", async |Args(said): Args<String>, ack: Ack| ack.send(said)).on(
                "bytes",
                async |socket: Socket, Args(bytes): Args<Vec<Binary>>, ack: Ack| {
                    socket.to(["room"]).emit("bytes", &bytes).unwrap();
                    socket.emit("bytes", &bytes).unwrap();
                    ack.send(bytes)
                },
            )
        })
    })
}

impl Client {
    fn send_packet(&self, kind: PacketType, id: Option<u64>, json: Option<&str>) {
        let data = json.map(|json| Data::from_json(json.to_owned()).unwrap());
        let packet = Parser::Msgpack.packet(kind, "/", id, data.as_ref());
        self.send_binary(packet.parts().next().unwrap().payload);
    }

    fn packets(&self) -> Vec<Complete> {
        let mut packets = Vec::new();
        for packet in self.engine.sent_for_tests(self.key) {
            packets.extend(packet.parts().map(|part| {
                assert!(part.binary);
                msgpack::packet::decode(&Bytes::copy_from_slice(part.payload)).unwrap()
            }));
        }
        packets
    }

    fn join_main(&self) {
        self.send_packet(PacketType::Connect, None, None);
        assert_eq!(self.packets()[0].kind, PacketType::Connect);
    }
}

fn json(packet: &Complete) -> &str {
    packet.data.as_ref().map_or("", Data::json)
}

#[test]
fn whatever_the_bus_a_broadcast_is_messagepack_for_clients() {
    for routing in [Routing::Exact, Routing::Pattern] {
        run(async || {
            let cluster = cluster(routing, 2);
            let clients = [cluster.workers[0].session(), cluster.workers[1].session()];
            clients.iter().for_each(Client::join_main);
            cluster.workers[0].sockets().emit("news", ("a", 1)).unwrap();
            cluster.settle().await;
            for client in &clients {
                let packets = client.packets();
                assert_eq!(packets.len(), 1);
                assert_eq!((packets[0].kind, json(&packets[0])), (PacketType::Event, r#"["news","a",1]"#));
            }
            assert_eq!(cluster.workers[1].stats().counters.bus_malformed, 0);
        });
    }
}

#[test]
fn events_are_answered_in_messagepack() {
    run(async || {
        let cluster = cluster(Routing::Exact, 1);
        let client = cluster.workers[0].session();
        client.join_main();
        client.send_packet(PacketType::Event, Some(7), Some(r#"["echo","ü"]"#));
        cluster.settle().await;
        let packets = client.packets();
        assert_eq!((packets[0].kind, packets[0].id, json(&packets[0])), (PacketType::Ack, Some(7), r#"["ü"]"#));
    });
}

#[test]
fn a_text_or_what_is_no_packet_ends_the_session() {
    for bad in [&b"\x80"[..], b"\xc1", b"\x82\xa4type\x05\xa3nsp\xa1/"] {
        run(async || {
            let cluster = cluster(Routing::Exact, 1);
            let client = cluster.workers[0].session();
            client.join_main();
            client.send_binary(bad);
            cluster.settle().await;
            assert!(!client.is_open(), "{bad:?}");
        });
    }
    run(async || {
        let cluster = cluster(Routing::Exact, 1);
        let client = cluster.workers[0].session();
        client.send("0");
        cluster.settle().await;
        assert!(!client.is_open());
    });
}

#[test]
fn a_packet_has_more_byte_strings_than_with_the_default_parser() {
    run(async || {
        let cluster = cluster(Routing::Exact, 1);
        let client = cluster.workers[0].session();
        client.join_main();
        let bytes = vec![Bytes::from_static(b"x"); 50];
        let places: Vec<_> = (0..50).map(|num| format!("{{\"_placeholder\":true,\"num\":{num}}}")).collect();
        let data = Data::new(format!("[\"bytes\",[{}]]", places.join(",")), bytes).unwrap();
        client.send_binary(Parser::Msgpack.event("/", Some(0), &data).parts().next().unwrap().payload);
        cluster.settle().await;
        let packets = client.packets();
        assert_eq!(packets.len(), 2);
        assert!(packets.iter().all(|packet| packet.data.as_ref().is_some_and(|data| data.attachments().len() == 50)));
    });
}
