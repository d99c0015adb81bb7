//! What roomd and a service manager (systemd, or one that speaks as it does) tell each other. Without one, all of it does nothing.
//!
//! - [`Inherited`]: the descriptors that this process was started with: of socket units, and of the store.
//! - [`ServiceManager`]: what the supervise loop tells of itself in its turns (`telling` decides what and when), by a
//!   [`Notifier`]: ready, reloading, stopping, alive, and the line that `systemctl status` shows.
//! - [`Passed`]: which of the former are listening sockets, and for whom.
//! - [`Store`]: descriptors that the service manager keeps while this process is replaced.

mod inherited;
mod manager;
mod notify;
mod sockets;
mod store;
mod telling;

pub use inherited::Inherited;
pub use manager::ServiceManager;
pub use notify::Notifier;
pub use sockets::{Passed, PassedSocket, Public, STORED_ADMIN, STORED_CONTROL};
pub use store::{Keep, STORED, Store};
pub use telling::Doing;

/// Variables by which a service manager addresses one process. Its children are not meant: they would speak in its name.
pub const VARIABLES: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "FDSTORE"];
