//! What waits to be sent to one client, bounded.

use std::collections::VecDeque;

use super::Encoded;

/// Places that an empty queue keeps, so that a client with a packet now and then allocates once.
const KEPT_PLACES: usize = 8;

/// Packets in the order they were sent.
#[derive(Debug, Default)]
pub struct Queue {
    packets: VecDeque<Encoded>,
    bytes: usize,
}

/// The client reads too slowly: what waits for it would exceed the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

impl Queue {
    /// Appends a packet. A single packet may be larger than the limit, else it could never be sent.
    pub fn push(&mut self, packet: Encoded, limit: usize) -> Result<(), Overflow> {
        let bytes = self.bytes + packet.len();
        if bytes > limit && self.bytes > 0 {
            return Err(Overflow);
        }
        self.bytes = bytes;
        self.packets.push_back(packet);
        Ok(())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Bytes that wait, as frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many packets wait.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packets that wait.
    pub fn iter(&self) -> impl Iterator<Item = &Encoded> {
        self.packets.iter()
    }

    /// Removes the first packet: it was sent.
    pub fn pop(&mut self) -> Option<Encoded> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        if self.packets.is_empty() && self.packets.capacity() > KEPT_PLACES {
            self.packets.shrink_to(KEPT_PLACES / 2);
        }
        Some(packet)
    }

    /// Takes all.
    pub fn take(&mut self) -> Queue {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: usize) -> Encoded {
        Encoded::engine(&"x".repeat(bytes - 2))
    }

    #[test]
    fn the_limit_holds_but_a_single_large_packet_passes() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(packet(120), 100), Ok(()));
        assert_eq!(queue.push(packet(2), 100), Err(Overflow));
        assert_eq!(queue.pop().map(|packet| packet.len()), Some(120));
        assert_eq!(queue.push(packet(60), 100), Ok(()));
        assert_eq!(queue.push(packet(40), 100), Ok(()));
        assert_eq!(queue.push(packet(2), 100), Err(Overflow));
        assert_eq!((queue.bytes(), queue.len()), (100, 2));
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut queue = Queue::default();
        for _ in 0..1000 {
            assert_eq!(queue.push(packet(2), usize::MAX), Ok(()));
        }
        while queue.pop().is_some() {}
        assert!(queue.packets.capacity() <= KEPT_PLACES);
        assert_eq!(queue.bytes(), 0);
    }
}
