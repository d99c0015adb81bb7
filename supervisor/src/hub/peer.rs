//! One worker's stream: what came from it and is not routed yet, and what is due to it and not written yet.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::OwnedFd,
};

use bytes::Bytes;
use roomd_wire::{WorkerId, hub::HubBuffer};
use rustix::{
    buffer::spare_capacity,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg, sockopt::socket_send_buffer_size},
};

/// The most that may wait for one worker. A worker that lets this much gather has not read for long: at a rate that no
/// worker could take anyway it is a second's worth.
pub const MAX_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// A buffer that grew larger than this is not kept.
const SPARE_BYTES: usize = 256 * 1024;

/// A message from this size on is put into memory once, which all its recipients' queues share; smaller ones are copied into
/// each queue, where they join into one piece.
const SHARE_FROM_BYTES: usize = 16 * 1024;

/// Pieces of one write; more of them are large messages anyway.
const MAX_PIECES: usize = 32;

/// A worker's stream.
pub struct Peer {
    /// `None`: the supervisor's own observer.
    pub id: Option<WorkerId>,
    pub socket: OwnedFd,
    /// What came; its scanned frames wait to be routed.
    pub input: HubBuffer,
    pub output: Output,
    /// Whether the poll watches for room to write.
    pub awaits_room: bool,
    /// Its end: it is not read any more, and goes once what it published is routed.
    pub ended: Option<Ended>,
    /// A round reads up to this: as much as fits into the socket, so that all that was in it at some moment is read.
    read_limit_bytes: usize,
}

/// Why a worker's stream ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The worker, or the supervisor, closed it.
    Closed,
    /// The worker did not read: its queue is full.
    Stalled,
    /// What it wrote is no frame, or the socket failed.
    Broken(String),
}

/// What is due to a worker.
#[derive(Default)]
pub struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    written: usize,
    /// Bytes in all pieces that are not written.
    bytes: usize,
    /// A buffer for the next piece, kept from the last.
    spare: Vec<u8>,
}

/// A run of frames.
enum Piece {
    Joined(Vec<u8>),
    Shared(Bytes),
}

/// A frame on its way to several queues.
pub struct Outgoing<'a> {
    frame: &'a [u8],
    shared: Option<Bytes>,
}

impl Peer {
    /// A peer over the hub's end of a socket pair; `theirs` is the other end, whose send buffer bounds what can wait in
    /// the socket.
    pub fn new(id: Option<WorkerId>, socket: OwnedFd, theirs: &OwnedFd) -> io::Result<Peer> {
        // A little more than its size can be in a buffer: the system checks before it adds.
        let read_limit_bytes = 2 * socket_send_buffer_size(theirs)?;
        let (input, output) = (HubBuffer::default(), Output::default());
        Ok(Peer { id, socket, input, output, awaits_room: false, ended: None, read_limit_bytes })
    }

    /// A peer as another process had it.
    pub fn restored(id: WorkerId, socket: OwnedFd, read_limit_bytes: usize, input: &[u8], output: &[u8]) -> Peer {
        let mut peer = Peer {
            id: Some(id),
            socket,
            input: HubBuffer::default(),
            output: Output::default(),
            awaits_room: false,
            ended: None,
            read_limit_bytes,
        };
        match peer.input.make_room() {
            Ok(buffer) => buffer.extend_from_slice(input),
            Err(error) => peer.ended = Some(Ended::Broken(error.to_string())),
        }
        if !output.is_empty() {
            peer.output.push(&mut Outgoing::new(output));
        }
        peer
    }

    /// What a round reads at the most.
    pub fn read_limit_bytes(&self) -> usize {
        self.read_limit_bytes
    }

    /// Reads what is in the socket, up to the limit; at its end sets `ended`.
    pub fn read(&mut self) {
        let mut budget = self.read_limit_bytes;
        while budget > 0 && self.ended.is_none() {
            let buffer = match self.input.make_room() {
                Ok(buffer) => buffer,
                Err(error) => {
                    self.ended = Some(Ended::Broken(error.to_string()));
                    return;
                }
            };
            let wanted = buffer.capacity() - buffer.len();
            match recv(&self.socket, spare_capacity(buffer), RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.ended = Some(Ended::Closed),
                // Less than there was room for: the socket is empty (or fills just now, which is after this moment).
                Ok((read, _)) if read < wanted => return,
                Ok((read, _)) => budget = budget.saturating_sub(read),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                // The other end was closed with something unread in it.
                Err(rustix::io::Errno::CONNRESET) => self.ended = Some(Ended::Closed),
                Err(error) => self.ended = Some(Ended::Broken(error.to_string())),
            }
        }
    }

    /// Writes what is due, as far as the socket takes it; true if that was all.
    pub fn write(&mut self) -> bool {
        while self.output.bytes > 0 {
            let sent = {
                let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
                let used = self.output.as_slices(&mut pieces);
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                sendmsg(&self.socket, &pieces[..used], &mut SendAncillaryBuffer::default(), flags)
            };
            match sent {
                Ok(sent) => self.output.advance(sent),
                Err(rustix::io::Errno::AGAIN) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => {
                    // Gone: the reads tell, after what it still said.
                    self.output = Output::default();
                }
                Err(error) => {
                    self.output = Output::default();
                    self.ended.get_or_insert(Ended::Broken(error.to_string()));
                }
            }
        }
        true
    }

    /// Queues a frame; a full queue is the end of the worker. False if it gets no more.
    pub fn push(&mut self, frame: &mut Outgoing<'_>) -> bool {
        if self.ended.is_some() {
            return false;
        }
        if self.output.bytes + frame.frame.len() > MAX_QUEUE_BYTES {
            self.output = Output::default();
            self.ended = Some(Ended::Stalled);
            return false;
        }
        self.output.push(frame);
        true
    }
}

impl Output {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// What waits, as it is to be written.
    pub fn to_vec(&self) -> Vec<u8> {
        let all: Vec<u8> = self.pieces.iter().flat_map(|piece| piece.as_slice()).copied().collect();
        all[self.written.min(all.len())..].to_vec()
    }

    fn push(&mut self, outgoing: &mut Outgoing<'_>) {
        self.bytes += outgoing.frame.len();
        if outgoing.frame.len() >= SHARE_FROM_BYTES {
            let shared = outgoing.shared.get_or_insert_with(|| Bytes::copy_from_slice(outgoing.frame));
            self.pieces.push_back(Piece::Shared(shared.clone()));
        } else if let Some(Piece::Joined(last)) = self.pieces.back_mut() {
            last.extend_from_slice(outgoing.frame);
        } else {
            let mut joined = std::mem::take(&mut self.spare);
            joined.extend_from_slice(outgoing.frame);
            self.pieces.push_back(Piece::Joined(joined));
        }
    }

    fn as_slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slot, piece) in into.iter_mut().zip(&self.pieces) {
            let start = if used == 0 { self.written } else { 0 };
            *slot = IoSlice::new(&piece.as_slice()[start..]);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while let Some(first) = self.pieces.front() {
            let left = first.as_slice().len() - self.written;
            if sent < left {
                self.written += sent;
                return;
            }
            sent -= left;
            self.written = 0;
            if let Some(Piece::Joined(mut joined)) = self.pieces.pop_front()
                && joined.capacity() <= SPARE_BYTES
            {
                joined.clear();
                self.spare = joined;
            }
        }
    }
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Joined(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

impl<'a> Outgoing<'a> {
    /// A whole frame that is due to workers.
    pub fn new(frame: &'a [u8]) -> Self {
        Outgoing { frame, shared: None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Frames of all sizes, written in pieces of any size, come out as they went in.
    #[test]
    fn an_output_gives_out_what_was_pushed_in_order_however_it_is_cut() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut output, mut pushed, mut taken) = (Output::default(), Vec::new(), Vec::new());
        for step in 0..3_000 {
            if rng.bool() {
                let len = if rng.u8(..20) == 0 { SHARE_FROM_BYTES + rng.usize(..1000) } else { rng.usize(1..300) };
                let frame: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
                output.push(&mut Outgoing::new(&frame));
                pushed.extend_from_slice(&frame);
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_PIECES];
                let used = output.as_slices(&mut slices);
                let all: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                let sent = rng.usize(..=all.len());
                taken.extend_from_slice(&all[..sent]);
                output.advance(sent);
            }
            assert_eq!(output.len(), pushed.len() - taken.len(), "seed {seed} step {step}");
        }
        assert_eq!(taken, pushed[..taken.len()], "seed {seed}");
    }
}
