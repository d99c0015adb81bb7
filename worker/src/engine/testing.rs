//! Sessions without a connection, for tests of the layer above: what is sent to them stays in their queues.

use std::rc::Rc;

use bytes::Bytes;
use roomd_wire::{BusConfig, Link, PeerAddress, SocketIoConfig, WorkerConfig, WorkerId};

use super::{Engine, Handshake, HttpService, SessionHandler, SessionKey, Transport};
use crate::{
    control::Outbox,
    protocol::{Encoded, engine_packet::Packet},
};

impl Engine {
    /// An engine whose supervisor is gone. Must be started inside a `LocalSet`.
    pub(crate) fn for_tests(id: WorkerId, socketio: SocketIoConfig) -> Engine {
        let config = WorkerConfig {
            orphan: None,
            id,
            host: 1,
            workers: 3,
            socketio,
            bus: BusConfig::Embedded,
            bus_wait_ms: 0,
            trusted_proxies: Vec::new(),
            app: serde_json::Value::Null,
        };
        let (link, _gone) = Link::pair().unwrap();
        Engine::new(&config, Outbox::new(Rc::new(link))).unwrap()
    }

    /// Starts it without anything to serve but sessions.
    pub(crate) fn start_for_tests(&self, handler: Rc<dyn SessionHandler>) {
        self.start(handler, HttpService::files(|_| None));
    }

    /// A polling session without a poll.
    pub(crate) fn open_for_tests(&self) -> SessionKey {
        let (sid, _) = self.open_packet(Transport::Polling).unwrap();
        let key = self.open_session(sid, Transport::Polling, None);
        let handshake = Handshake {
            sid,
            peer: PeerAddress::Unix,
            issued_ms: 1_700_000_000_000,
            url: "/socket.io/?EIO=4&transport=polling".into(),
            headers: "host: localhost\norigin: http://localhost\n".into(),
        };
        self.tell_opened(key, handshake);
        key
    }

    /// A text message of its client; false if the session takes no more of them.
    pub(crate) fn text_for_tests(&self, key: SessionKey, text: &str) -> bool {
        self.incoming(key, Ok(Packet::Message(text))) && self.is_open_for_tests(key)
    }

    /// A binary message of its client.
    pub(crate) fn binary_for_tests(&self, key: SessionKey, bytes: Bytes) -> bool {
        self.incoming(key, Ok(Packet::Binary(bytes.to_vec().into()))) && self.is_open_for_tests(key)
    }

    /// Takes what waits for its client.
    pub(crate) fn sent_for_tests(&self, key: SessionKey) -> Vec<Encoded> {
        let queue = self.with_session(key, |entry, _, _, _| entry.session.queue().take());
        queue.map(|queue| queue.iter().cloned().collect()).unwrap_or_default()
    }

    /// Its client goes away.
    pub(crate) fn end_for_tests(&self, key: SessionKey) {
        self.incoming(key, Ok(Packet::Close));
    }

    /// Whether ends of sessions wait for the end of a turn, which a rest may put off.
    pub(crate) fn has_ends_to_tell(&self) -> bool {
        !self.0.state.borrow().ended.is_empty()
    }

    /// Whether the session is there and open.
    pub(crate) fn is_open_for_tests(&self, key: SessionKey) -> bool {
        self.transport(key).is_some()
    }
}
