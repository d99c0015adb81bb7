//! A request to the other servers that waits for their answers.

use std::time::Duration;

use tokio::{sync::mpsc, time::Instant};

use crate::adapter::codec::Response;

/// More answers than this, or larger ones, do not belong to a request of ours: whoever floods us with them is not listened to.
const MAX_ANSWERS: usize = 1_000_000;
const MAX_ANSWERS_BYTES: usize = 256 << 20;

/// Where the answers to a request go.
pub(super) struct Pending {
    answers: mpsc::UnboundedSender<Response>,
    taken: usize,
    bytes: usize,
}

impl Pending {
    /// The place for answers, and where they come out.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Response>) {
        let (answers, receiver) = mpsc::unbounded_channel();
        (Pending { answers, taken: 0, bytes: 0 }, receiver)
    }

    /// An answer of so many bytes came. Nobody may wait for it any more.
    pub(super) fn answer(&mut self, response: Response, bytes: usize) {
        self.taken += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.taken <= MAX_ANSWERS && self.bytes <= MAX_ANSWERS_BYTES {
            let _ = self.answers.send(response);
        }
    }
}

/// The moment when a wait of this length is over; an absurdly long one is cut.
pub(super) fn deadline(within: Duration) -> Instant {
    Instant::now() + within.min(Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::codec::ResponseBody;

    fn done() -> Response {
        Response { request_id: "abcdef".to_owned(), from: None, body: ResponseBody::Done }
    }

    #[test]
    fn who_floods_a_request_with_answers_is_not_listened_to() {
        for (bytes, most) in [(10, MAX_ANSWERS), (MAX_ANSWERS_BYTES / 8, 8)] {
            let (mut pending, mut answers) = Pending::new();
            (0..most + 3).for_each(|_| pending.answer(done(), bytes));
            drop(pending);
            let taken = std::iter::from_fn(|| answers.try_recv().ok()).count();
            assert_eq!(taken, most, "of {bytes} bytes each");
        }
    }
}
