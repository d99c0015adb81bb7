//! The hub stops, and goes on in another process (or here) as if nothing had been: workers' streams are what they were, with what
//! they are subscribed to, the beginnings of messages that have come, and what was not written yet.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use roomd_wire::WorkerId;
use serde::{Deserialize, Serialize};

use super::{
    Hub, HubEvents, HubHandle,
    event_loop::{EventLoop, Stopped},
    handle::{Command, Shared},
    peer::Peer,
};

/// A hub that stands still. `S` is a worker's stream: a number while it is only told of, the descriptor itself where it goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrozenHub<S> {
    peers: Vec<FrozenPeer<S>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct FrozenPeer<S> {
    id: WorkerId,
    socket: S,
    read_limit_bytes: usize,
    /// The beginning of a frame.
    input: Vec<u8>,
    output: Vec<u8>,
    channels: Vec<Vec<u8>>,
    prefixes: Vec<Vec<u8>>,
}

/// A hub that was stopped and can go on here.
pub struct StoppedHub {
    shared: Arc<Shared>,
    stopped: Stopped,
}

impl<S> FrozenHub<S> {
    /// All streams.
    pub fn sockets(&self) -> impl Iterator<Item = &S> {
        self.peers.iter().map(|peer| &peer.socket)
    }

    /// The same with other streams.
    pub fn map<T>(self, mut change: impl FnMut(S) -> io::Result<T>) -> io::Result<FrozenHub<T>> {
        let change = |peer: FrozenPeer<S>| {
            let FrozenPeer { id, socket, read_limit_bytes, input, output, channels, prefixes } = peer;
            Ok(FrozenPeer { id, socket: change(socket)?, read_limit_bytes, input, output, channels, prefixes })
        };
        Ok(FrozenHub { peers: self.peers.into_iter().map(change).collect::<io::Result<_>>()? })
    }
}

impl HubHandle {
    /// Stops the hub between two messages. None if it had ended by itself.
    pub fn stop(mut self) -> Option<StoppedHub> {
        self.shared.command(Command::Stop);
        let stopped = self.thread.take()?.join().ok()?;
        Some(StoppedHub { shared: self.shared.clone(), stopped })
    }
}

impl StoppedHub {
    /// What another process has to know. The streams stay this one's.
    pub fn frozen(&self) -> FrozenHub<RawFd> {
        let Stopped { peers, routes, .. } = &self.stopped;
        // Those without a worker are the supervisor's own.
        let peers = peers.iter().filter_map(|(key, peer)| {
            let (channels, prefixes) = routes.of(key);
            Some(FrozenPeer {
                id: peer.id?,
                socket: peer.socket.as_raw_fd(),
                read_limit_bytes: peer.read_limit_bytes(),
                input: peer.input.rest().to_vec(),
                output: peer.output.to_vec(),
                channels,
                prefixes,
            })
        });
        FrozenHub { peers: peers.collect() }
    }

    /// A worker's stream by its number.
    #[cfg(test)]
    pub fn duplicate(&self, number: RawFd) -> io::Result<OwnedFd> {
        let found = self.stopped.peers.iter().find(|(_, peer)| peer.socket.as_raw_fd() == number);
        found.map_or_else(|| Err(io::ErrorKind::NotFound.into()), |(_, peer)| peer.socket.try_clone())
    }

    /// Goes on here.
    pub fn go_on(self) -> io::Result<HubHandle> {
        let StoppedHub { shared, stopped } = self;
        // The order to stop that came when its handle was let go of.
        shared.forget_stop();
        let mut handle = HubHandle { shared: shared.clone(), thread: None };
        handle.run(move || EventLoop::go_on(shared, stopped))?;
        Ok(handle)
    }
}

impl Hub {
    /// A hub that goes on where another one stopped.
    pub fn restore(frozen: FrozenHub<OwnedFd>) -> io::Result<(HubHandle, HubEvents)> {
        let (mut handle, events, event_loop) = Hub::prepare()?;
        handle.run(move || {
            let mut event_loop = event_loop();
            for FrozenPeer { id, socket, read_limit_bytes, input, output, channels, prefixes } in frozen.peers {
                let peer = Peer::restored(id, socket, read_limit_bytes, &input, &output);
                event_loop.restore(peer, &channels, &prefixes);
            }
            event_loop
        })?;
        Ok((handle, events))
    }
}
