//! One process's bus, and all that came on it.

use std::{
    cell::{Cell, RefCell},
    collections::{HashSet, VecDeque},
    future::Future,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use roomd_wire::BusHealth;
use roomd_worker::bus::{Bus, BusHandler};
use tokio::{sync::Notify, task::AbortHandle};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Channels of [`Member::settle`].
const BARRIER: &str = "barrier ";

thread_local! {
    static BARRIERS: Cell<u32> = const { Cell::new(0) };
}

pub struct Member {
    pub bus: Rc<dyn Bus>,
    pub inbox: Rc<Inbox>,
    driver: AbortHandle,
}

/// What came.
#[derive(Default)]
pub struct Inbox {
    messages: RefCell<VecDeque<(String, Bytes)>>,
    barriers: RefCell<HashSet<String>>,
    pub changes: RefCell<Vec<BusHealth>>,
    arrived: Notify,
}

impl BusHandler for Inbox {
    fn message(&self, channel: &str, payload: Bytes) {
        match channel.starts_with(BARRIER) {
            true => drop(self.barriers.borrow_mut().insert(channel.to_owned())),
            false => self.messages.borrow_mut().push_back((channel.to_owned(), payload)),
        }
        self.arrived.notify_one();
    }

    fn health_changed(&self, health: &BusHealth) {
        self.changes.borrow_mut().push(health.clone());
        self.arrived.notify_one();
    }
}

impl Member {
    /// Makes a bus with a new inbox and drives it.
    pub fn new<B: Bus + 'static, D: Future<Output = ()> + 'static>(make: impl FnOnce(Rc<Inbox>) -> (Rc<B>, D)) -> Self {
        let inbox = Rc::new(Inbox::default());
        let (bus, driver) = make(inbox.clone());
        let driver = tokio::task::spawn_local(driver).abort_handle();
        Member { bus, inbox, driver }
    }

    /// The next message.
    pub async fn next(&self) -> (String, Bytes) {
        self.until("a message", || self.inbox.messages.borrow_mut().pop_front()).await
    }

    /// How many messages came and were not looked at.
    pub fn unread(&self) -> usize {
        self.inbox.messages.borrow().len()
    }

    /// Waits until the bus is up.
    pub async fn up(&self) {
        self.until("up", || self.bus.health().up.then_some(())).await;
    }

    /// Waits until the bus is down, and says why it is.
    pub async fn down(&self) -> String {
        // Told, that is: until the first outcome it is not up either.
        let down = || self.inbox.changes.borrow().last().is_some_and(|last| !last.up) && !self.bus.health().up;
        self.until("down", || down().then(|| self.bus.health().reason)).await
    }

    /// Waits until all that this member has subscribed to is in force for what the other publishes, and until all that the
    /// other has published has come: neither is promised at once.
    pub async fn settle(&self, publisher: &Member) {
        let channel = format!("{BARRIER}{}", BARRIERS.replace(BARRIERS.get() + 1));
        self.bus.subscribe(&channel);
        self.bus.flush();
        let come = async {
            while !self.inbox.barriers.borrow().contains(&channel) {
                publisher.bus.publish(&channel, b"");
                publisher.bus.flush();
                let _ = tokio::time::timeout(Duration::from_millis(5), self.inbox.arrived.notified()).await;
            }
        };
        tokio::time::timeout(PATIENCE, come).await.expect("a barrier came");
        self.bus.unsubscribe(&channel);
        self.bus.flush();
    }

    /// Waits for a condition, which is looked at whenever something came, and now and then besides.
    pub async fn until<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(value) = condition() {
                    return value;
                }
                let _ = tokio::time::timeout(Duration::from_millis(20), self.inbox.arrived.notified()).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(value) => value,
            Err(_) => panic!("{what} did not come; health {:?}", self.bus.health()),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
