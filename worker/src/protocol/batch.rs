//! Packets that go to the very same sessions one after another, joined once for all of them.
//!
//! A busy room gets many messages in one turn of the loop. The first is queued for each member as a batch; those that follow
//! are appended to the batch, which costs the same for a room of two and one of ten thousand, and each member is written
//! one piece of bytes. Order is kept since only the last item of a queue can grow: whatever is queued behind a batch seals it,
//! and so does reading it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
};

use super::Encoded;

/// A batch takes no more packets when it has so many bytes: each time one begins, the recipients' limits are looked at.
pub const MAX_BATCH_BYTES: usize = 64 * 1024;

/// See the module's documentation.
#[derive(Debug)]
pub struct Batch {
    first: Encoded,
    /// The wire of all packets, from the second on.
    joined: RefCell<Vec<u8>>,
    sealed: OnceCell<Encoded>,
    recipients: Cell<usize>,
}

impl Batch {
    /// A batch of one packet.
    pub fn new(first: &Encoded) -> Rc<Batch> {
        Rc::new(Batch {
            first: first.clone(),
            joined: RefCell::default(),
            sealed: OnceCell::new(),
            recipients: Cell::new(0),
        })
    }

    /// Appends a packet, for all that have the batch in their queues. False if it is sealed or full, or its packets may be compressed
    /// and this one may not, or the other way round.
    pub fn append(&self, packet: &Encoded) -> bool {
        let other_kind = packet.may_compress() != self.first.may_compress();
        if other_kind || self.sealed.get().is_some() || self.len() + packet.len() > MAX_BATCH_BYTES {
            return false;
        }
        let mut joined = self.joined.borrow_mut();
        if joined.is_empty() {
            joined.extend_from_slice(self.first.wire());
        }
        joined.extend_from_slice(packet.wire());
        true
    }

    /// The packets; nothing can be appended any more.
    pub fn seal(&self) -> &Encoded {
        self.sealed.get_or_init(|| match self.joined.take() {
            joined if joined.is_empty() => self.first.clone(),
            joined => Encoded::joined(joined, self.first.may_compress()),
        })
    }

    /// How many bytes the packets have.
    #[allow(clippy::len_without_is_empty)] // it never is
    pub fn len(&self) -> usize {
        match self.sealed.get() {
            Some(packets) => packets.len(),
            None => self.joined.borrow().len().max(self.first.len()),
        }
    }

    /// How many queues it was put into.
    pub fn recipients(&self) -> usize {
        self.recipients.get()
    }

    /// Says how many queues it was put into.
    pub fn set_recipients(&self, count: usize) {
        self.recipients.set(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(packets: &Encoded) -> Vec<String> {
        packets.parts().map(|part| String::from_utf8_lossy(part.payload).into_owned()).collect()
    }

    #[test]
    fn packets_are_joined_in_order_until_the_batch_is_read() {
        let batch = Batch::new(&Encoded::engine("42a"));
        assert!(batch.append(&Encoded::engine("42b")));
        assert!(batch.append(&Encoded::engine("42c")));
        assert_eq!(batch.len(), 15);
        assert_eq!(texts(batch.seal()), ["42a", "42b", "42c"]);
        assert!(!batch.append(&Encoded::engine("42d")));
        assert_eq!((batch.len(), texts(batch.seal()).len()), (15, 3));
    }

    #[test]
    fn a_batch_of_one_packet_is_that_packet_without_a_copy() {
        let packet = Encoded::engine("42a");
        let batch = Batch::new(&packet);
        assert_eq!(batch.len(), packet.len());
        assert_eq!(batch.seal().wire().as_ptr(), packet.wire().as_ptr());
    }

    #[test]
    fn what_may_be_compressed_and_what_may_not_is_not_joined() {
        for compress in [true, false] {
            let packet = Encoded::engine("42a").compress(compress);
            let batch = Batch::new(&packet);
            assert!(batch.append(&packet) && !batch.append(&packet.clone().compress(!compress)));
            assert_eq!(batch.seal().may_compress(), compress);
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let packet = Encoded::engine(&"x".repeat(1000));
        let batch = Batch::new(&packet);
        while batch.append(&packet) {}
        assert!(batch.len() <= MAX_BATCH_BYTES && batch.len() > MAX_BATCH_BYTES - 2000);
    }
}
