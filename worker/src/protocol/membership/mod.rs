//! One client's sockets: which namespaces its session is in, and how it comes into them and leaves them.
//!
//! ```text
//!            CONNECT                    middleware agrees
//!  (nothing) ───────► Waiting ──────────────────────────────► In
//!      ▲                │                                      │
//!      │  Refuse: middleware refuses                           │
//!      ├── Forget: another CONNECT, or the session ends        │
//!      └── Leave: either side disconnects, or the session ends ┘
//! ```
//!
//! A session in which nothing was joined in time is closed, and so is one whose client breaks the rules. What closes a session is
//! decided here once; its sockets hear of it when the transport below has told its end, with that one's reason.
//!
//! Events and the time go in through methods; what the shell must do comes out as their answer where it concerns the one socket,
//! else as [`Action`]s, to be done in their order. Facts are those of socket.io 4.8.4, with one difference: a client may send CONNECT
//! again while middleware still considers its first (an official client does that when it is told to connect, disconnect and connect
//! in one breath, as by a component that is mounted twice). There it gets two sockets, of which it knows but the last, and the first
//! hears everything until the session ends; here the last takes the place of the first.

mod state;
#[cfg(test)]
mod tests;
mod types;

pub use state::Membership;
pub use types::{Action, Actions, Cause, Member, NamespaceIndex, Reason, SocketKey};
