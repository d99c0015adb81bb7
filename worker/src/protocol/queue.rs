//! What waits to be sent to one client, bounded.

use std::{collections::VecDeque, rc::Rc};

use super::{Encoded, batch::Batch};

/// Places that an empty queue keeps, so that a client with a packet now and then allocates once.
const KEPT_PLACES: usize = 8;

/// What each item counts against the limit besides its bytes, about what the keeping of it takes: its place here, and its
/// allocation. Else a client that makes a server send it many small packets could have it keep ten times the limit.
const KEPT_BYTES: usize = 64;

/// Packets in the order they were sent.
#[derive(Debug, Default)]
pub struct Queue {
    items: VecDeque<Item>,
    /// Of all items but one that may still grow.
    bytes: usize,
    /// The last item is a batch that is not counted yet.
    growing: bool,
    /// How many items at the front [`Queue::replace_new`] has seen.
    seen: u32,
}

/// What is queued at once: one packet, or several that other clients get too.
#[derive(Debug, Clone)]
pub enum Item {
    /// A packet.
    Packet(Encoded),
    /// Packets of a room.
    Batch(Rc<Batch>),
}

impl Item {
    /// The packets, which seals a batch.
    pub fn packets(&self) -> &Encoded {
        match self {
            Item::Packet(packet) => packet,
            Item::Batch(batch) => batch.seal(),
        }
    }

    /// Whether others may hold the same packets.
    pub fn is_shared(&self) -> bool {
        match self {
            Item::Packet(packet) => !packet.wire().is_unique(),
            Item::Batch(batch) => Rc::strong_count(batch) > 1 || !batch.seal().wire().is_unique(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Item::Packet(packet) => packet.len(),
            Item::Batch(batch) => batch.len(),
        }
    }
}

impl From<Encoded> for Item {
    fn from(packet: Encoded) -> Item {
        Item::Packet(packet)
    }
}

/// The client reads too slowly: what waits for it would exceed the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

impl Queue {
    /// Appends packets. Those queued at once may be larger than the limit, else a large one could never be sent.
    pub fn push(&mut self, item: Item, limit: usize) -> Result<(), Overflow> {
        self.seal();
        let bytes = self.bytes + item.len();
        if bytes + self.items.len() * KEPT_BYTES > limit && self.bytes > 0 {
            return Err(Overflow);
        }
        match item {
            Item::Packet(_) => self.bytes = bytes,
            Item::Batch(_) => self.growing = true,
        }
        self.items.push_back(item);
        Ok(())
    }

    /// What waits grows no more, unless something is queued.
    pub fn seal(&mut self) {
        if std::mem::take(&mut self.growing)
            && let Some(last) = self.items.back()
        {
            self.bytes += last.packets().len();
        }
    }

    /// Puts what `make` returns in the place of each item that it has not seen yet.
    pub fn replace_new(&mut self, mut make: impl FnMut(&Item) -> Option<Encoded>) {
        self.seal();
        for item in self.items.iter_mut().skip(self.seen as usize) {
            if let Some(packets) = make(item) {
                self.bytes = self.bytes - item.len() + packets.len();
                *item = Item::Packet(packets);
            }
        }
        // The limit in bytes keeps it far below.
        self.seen = self.items.len() as u32;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that wait, as frames.
    pub fn bytes(&self) -> usize {
        let growing = self.items.back().filter(|_| self.growing);
        self.bytes + growing.map_or(0, Item::len)
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The packets that wait, those queued at once as one.
    pub fn iter(&self) -> impl Iterator<Item = &Encoded> {
        self.items.iter().map(Item::packets)
    }

    /// Removes the first item: it was sent.
    pub fn pop(&mut self) -> Option<Item> {
        self.seal();
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        self.seen = self.seen.saturating_sub(1);
        if self.items.is_empty() && self.items.capacity() > KEPT_PLACES {
            self.items.shrink_to(KEPT_PLACES / 2);
        }
        Some(item)
    }

    /// Takes all.
    pub fn take(&mut self) -> Queue {
        self.seal();
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: usize) -> Item {
        Encoded::engine(&"x".repeat(bytes - 2)).into()
    }

    fn texts(queue: &Queue) -> Vec<String> {
        let parts = queue.iter().flat_map(|packets| packets.parts());
        parts.map(|part| String::from_utf8_lossy(part.payload).into_owned()).collect()
    }

    #[test]
    fn a_batch_grows_in_every_queue_until_something_is_queued_behind_it() {
        let (mut one, mut other) = (Queue::default(), Queue::default());
        let batch = Batch::new(&Encoded::engine("a"));
        for queue in [&mut one, &mut other] {
            assert_eq!(queue.push(Item::Batch(batch.clone()), 100), Ok(()));
        }
        assert!(batch.append(&Encoded::engine("b")));
        assert_eq!((one.bytes(), other.bytes()), (6, 6));
        assert_eq!(other.push(Encoded::engine("c").into(), 100), Ok(()));
        assert!(!batch.append(&Encoded::engine("d")), "it would come before what was queued earlier");
        assert_eq!(
            (texts(&one), texts(&other)),
            (vec!["a".into(), "b".into()], vec!["a".into(), "b".into(), "c".into()])
        );
        assert_eq!((one.bytes(), other.bytes()), (6, 9));
        assert_eq!(one.pop().map(|item| item.len()), Some(6));
        assert_eq!((one.bytes(), one.len()), (0, 0));
    }

    #[test]
    fn what_was_taken_or_sealed_grows_no_more() {
        let ends: [fn(&mut Queue); 3] = [|queue| drop(queue.take()), Queue::seal, |queue| drop(queue.pop())];
        for end in ends {
            let mut queue = Queue::default();
            let batch = Batch::new(&Encoded::engine("a"));
            assert_eq!(queue.push(Item::Batch(batch.clone()), 100), Ok(()));
            end(&mut queue);
            assert!(!batch.append(&Encoded::engine("b")));
        }
    }

    #[test]
    fn a_batch_counts_as_it_is_when_the_limit_is_looked_at() {
        let mut queue = Queue::default();
        let batch = Batch::new(&Encoded::engine("a"));
        assert_eq!(queue.push(Item::Batch(batch.clone()), 10), Ok(()));
        while batch.len() < 12 {
            assert!(batch.append(&Encoded::engine("a")));
        }
        assert_eq!(queue.push(Encoded::engine("b").into(), 10), Err(Overflow));
    }

    #[test]
    fn the_limit_holds_but_a_single_large_packet_passes() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(packet(120), 100), Ok(()));
        assert_eq!(queue.push(packet(2), 100), Err(Overflow));
        assert_eq!(queue.pop().map(|item| item.len()), Some(120));
        assert_eq!(queue.push(packet(60), 100), Ok(()));
        assert_eq!(queue.push(packet(40), 100 + KEPT_BYTES), Ok(()));
        assert_eq!(queue.push(packet(2), 100 + 2 * KEPT_BYTES), Err(Overflow));
        assert_eq!((queue.bytes(), queue.len()), (100, 2));
    }

    #[test]
    fn what_the_keeping_of_many_small_packets_takes_counts_against_the_limit() {
        let mut queue = Queue::default();
        let limit = 1_000_000;
        while queue.push(packet(3), limit) == Ok(()) {}
        assert!(queue.len() * KEPT_BYTES <= limit && queue.bytes() < limit / 10);
        assert!(queue.items.capacity() * size_of::<Item>() <= 2 * limit);
    }

    #[test]
    fn each_item_is_replaced_at_most_once_and_its_bytes_counted_as_they_are_then() {
        let mut queue = Queue::default();
        let batch = Batch::new(&Encoded::engine("abc"));
        for item in [packet(10), Item::Batch(batch), packet(20)] {
            assert_eq!(queue.push(item, 1000), Ok(()));
        }
        let mut offered = Vec::new();
        let mut replace = |queue: &mut Queue| {
            queue.replace_new(|item| {
                offered.push(item.len());
                (item.len() < 20).then(|| Encoded::engine("z"))
            });
        };
        replace(&mut queue);
        assert_eq!((queue.bytes(), texts(&queue).len()), (26, 3));
        assert_eq!(queue.pop().map(|item| item.len()), Some(3));
        assert_eq!(queue.push(packet(15), 1000), Ok(()));
        replace(&mut queue);
        while queue.pop().is_some() {}
        assert_eq!(queue.push(packet(12), 1000), Ok(()));
        replace(&mut queue);
        assert_eq!((queue.bytes(), offered), (3, vec![10, 5, 20, 15, 12]));
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut queue = Queue::default();
        for _ in 0..1000 {
            assert_eq!(queue.push(packet(2), usize::MAX), Ok(()));
        }
        while queue.pop().is_some() {}
        assert!(queue.items.capacity() <= KEPT_PLACES);
        assert_eq!(queue.bytes(), 0);
    }

    /// Clients, groups of them with their last batch, and what each client should get.
    struct World {
        queues: Vec<Queue>,
        groups: Vec<(Vec<usize>, Option<Rc<Batch>>)>,
        due: Vec<Vec<String>>,
        sent: usize,
    }

    impl World {
        fn next(&mut self, to: &[usize]) -> Encoded {
            let text = self.sent.to_string();
            self.sent += 1;
            to.iter().for_each(|&client| self.due[client].push(text.clone()));
            Encoded::engine(&text)
        }

        fn step(&mut self, rng: &mut fastrand::Rng) {
            let (client, group) = (rng.usize(..self.queues.len()), rng.usize(..self.groups.len()));
            match rng.u8(..20) {
                0 => {
                    let packet = self.next(&[client]);
                    assert_eq!(self.queues[client].push(packet.into(), usize::MAX), Ok(()));
                }
                1 => self.read(client),
                2 => {
                    let (members, batch) = &mut self.groups[group];
                    match members.iter().position(|&member| member == client) {
                        Some(at) => drop(members.swap_remove(at)),
                        None => members.push(client),
                    }
                    *batch = None;
                }
                _ => {
                    let members = self.groups[group].0.clone();
                    let packet = self.next(&members);
                    if !self.groups[group].1.as_ref().is_some_and(|batch| batch.append(&packet)) {
                        let batch = Batch::new(&packet);
                        for member in members {
                            assert_eq!(self.queues[member].push(Item::Batch(batch.clone()), usize::MAX), Ok(()));
                        }
                        self.groups[group].1 = Some(batch);
                    }
                }
            }
        }

        fn read(&mut self, client: usize) {
            let queue = &mut self.queues[client];
            let (bytes, texts) = (queue.bytes(), texts(queue));
            assert_eq!(texts, std::mem::take(&mut self.due[client]));
            assert_eq!(queue.iter().map(Encoded::len).sum::<usize>(), bytes);
            while queue.pop().is_some() {}
            assert_eq!(queue.bytes(), 0);
        }
    }

    #[test]
    fn everybody_gets_what_was_sent_to_him_in_order_however_batches_and_packets_mix() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let clients = rng.usize(1..6);
            let mut world = World {
                queues: (0..clients).map(|_| Queue::default()).collect(),
                groups: vec![(Vec::new(), None); rng.usize(1..4)],
                due: vec![Vec::new(); clients],
                sent: 0,
            };
            for _ in 0..300 {
                world.step(&mut rng);
            }
            (0..clients).for_each(|client| world.read(client));
        }
    }
}
