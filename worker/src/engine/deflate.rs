//! permessage-deflate: the worker's one compressor and one decompressor, and what a handshake agrees on.

use std::cell::{Cell, RefCell};

use http::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};
use roomd_wire::PerMessageDeflate;

use crate::protocol::{
    deflate::{Agreement, BadOffer, Deflater, Inflater, Window},
    queue::Queue,
};

/// See the module's documentation.
pub(super) struct Deflate {
    deflater: RefCell<Deflater>,
    /// Not there while a message is read, which calls the application.
    inflater: Cell<Inflater>,
}

impl Deflate {
    pub(super) fn new(options: &PerMessageDeflate) -> Deflate {
        let threshold = usize::try_from(options.threshold_bytes).unwrap_or(usize::MAX);
        Deflate { deflater: RefCell::new(Deflater::new(threshold, options.level)), inflater: Cell::default() }
    }

    /// Reads what a client offers. `None`: no compression.
    pub(super) fn agree(&self, headers: &HeaderMap) -> Result<Option<Agreement>, BadOffer> {
        let lines: Vec<_> = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(|line| line.as_bytes()).collect();
        if lines.is_empty() { Ok(None) } else { Agreement::on(&lines.join(&b", "[..])) }
    }

    /// Compresses what has come into a queue since the last time.
    pub(super) fn compress(&self, queue: &mut Queue, window: Window) {
        let mut deflater = self.deflater.borrow_mut();
        queue.replace_new(|item| deflater.deflate(item, window));
    }

    /// All queues have been gone through.
    pub(super) fn end_turn(&self) {
        self.deflater.borrow_mut().end_turn();
    }

    /// What decompresses messages, to be given back.
    pub(super) fn take_inflater(&self) -> Inflater {
        self.inflater.take()
    }

    /// Keeps it for the next message, whoever sends it.
    pub(super) fn keep_inflater(&self, inflater: Inflater) {
        self.inflater.set(inflater);
    }
}
