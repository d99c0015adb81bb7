//! A request to the other servers that waits for their answers.

use std::time::Duration;

use tokio::{sync::mpsc, time::Instant};

use crate::adapter::codec::ResponseBody;

/// More answers than this do not belong to a request of ours: whoever floods us with them is not listened to.
const MAX_ANSWERS: usize = 1_000_000;

/// Where the answers to a request go.
pub(super) struct Pending {
    answers: mpsc::UnboundedSender<ResponseBody>,
    taken: usize,
}

impl Pending {
    /// The place for answers, and where they come out.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<ResponseBody>) {
        let (answers, receiver) = mpsc::unbounded_channel();
        (Pending { answers, taken: 0 }, receiver)
    }

    /// An answer came. Nobody may wait for it any more.
    pub(super) fn answer(&mut self, body: ResponseBody) {
        self.taken += 1;
        if self.taken <= MAX_ANSWERS {
            let _ = self.answers.send(body);
        }
    }
}

/// What comes until a time is over. `None` then, or when nothing can come any more.
pub(super) async fn next<T>(answers: &mut mpsc::UnboundedReceiver<T>, deadline: Instant) -> Option<T> {
    tokio::time::timeout_at(deadline, answers.recv()).await.ok().flatten()
}

/// The moment when a wait of this length is over; an absurdly long one is cut.
pub(super) fn deadline(within: Duration) -> Instant {
    Instant::now() + within.min(Duration::from_secs(86_400))
}
