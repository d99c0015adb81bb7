//! Places for the connections of a listener that few use. When all are taken, the connection that has been silent for longest
//! gives its place up: whoever opens many and says nothing must not keep `roomd stop` or a health check out.

use std::{pin::pin, sync::Arc};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    wanted: Arc<Notify>,
}

impl Places {
    /// So many places.
    pub(crate) fn new(count: usize) -> Places {
        Places { free: Arc::new(Semaphore::new(count)), wanted: Arc::new(Notify::new()) }
    }

    /// Takes a place, and asks for one if all are taken.
    pub(crate) async fn take(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return place;
        }
        self.wanted.notify_one();
        let place = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        // If nobody was silent then, the next one to be is not meant any more.
        pin!(self.wanted.notified()).enable();
        place
    }

    /// Returns when whoever waits here should give its place up; who has waited for longest does first.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn the_place_of_who_is_silent_for_longest_is_given_up_first() {
        let places = Places::new(2);
        let mut silent = Vec::new();
        for _ in 0..2 {
            let (place, places) = (places.take().await, places.clone());
            silent.push(tokio::spawn(async move {
                places.wanted().await;
                drop(place);
            }));
            yield_now().await;
        }
        let _third = places.take().await;
        yield_now().await;
        assert_eq!((silent[0].is_finished(), silent[1].is_finished()), (true, false));
    }

    #[tokio::test]
    async fn a_place_that_became_free_by_itself_costs_nobody_else_his() {
        let places = Places::new(1);
        let busy = places.take().await;
        let (next, ()) = tokio::join!(places.take(), async {
            yield_now().await;
            drop(busy);
        });
        let mut silent = pin!(places.wanted.notified());
        assert!(!silent.as_mut().enable());
        drop(next);
    }
}
