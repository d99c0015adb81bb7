//! Words to the service manager (sd_notify(3)).

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    io,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
        connect, sendmsg, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
    time::{ClockId, clock_gettime},
};

use crate::config::Environment;

/// How long a word that must not be lost waits for a service manager that does not read. The supervisor stands still meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the service manager; without one, words go nowhere. Cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Notifier(Option<Arc<OwnedFd>>);

/// What becomes of a word that the service manager has no room for at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// It waits for a while.
    Waits,
    /// It is given up: the next one will say it again.
    IsLost,
}

impl Notifier {
    /// To the service manager that has started this process, if one has: `$NOTIFY_SOCKET`.
    pub fn of_process() -> Notifier {
        match Environment::of_process().text("NOTIFY_SOCKET") {
            None => Notifier::default(),
            Some(address) => Notifier::to(&address).unwrap_or_else(|error| {
                tracing::warn!(%error, address, "the service manager cannot be reached (NOTIFY_SOCKET)");
                Notifier::default()
            }),
        }
    }

    /// To a socket: a path, or behind an `@` a name in the abstract namespace.
    pub fn to(address: &str) -> io::Result<Notifier> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
            None => SocketAddrUnix::new(address)?,
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        connect(&socket, &address)?;
        Ok(Notifier(Some(Arc::new(socket))))
    }

    /// Whether there is somebody to tell.
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Clients are served: after the start, and again after a reload.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        // By this time systemd (253 or newer, Type=notify-reload) knows which of its orders is meant.
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The start or the stop that is under way may take this long from now, whatever the unit says.
    pub fn extend_timeout(&self, from_now: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", from_now.as_micros()));
    }

    /// What `systemctl status` shows.
    pub fn status(&self, line: &str) {
        let line = line.replace('\n', " ");
        self.send(&format!("STATUS={line}"), &[], Unread::IsLost);
    }

    /// This process goes on. Without it, it is killed and started anew.
    pub fn alive(&self) {
        self.send("WATCHDOG=1", &[], Unread::IsLost);
    }

    fn tell(&self, words: &str) {
        self.send(words, &[], Unread::Waits);
    }

    pub(super) fn send(&self, words: &str, descriptors: &[BorrowedFd], unread: Unread) {
        let Some(socket) = &self.0 else { return };
        let flags = match unread {
            Unread::Waits => SendFlags::NOSIGNAL,
            Unread::IsLost => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            debug_assert!(descriptors.len() == 1, "the store names one at a time");
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let sent = io::retry_on_intr(|| sendmsg(&**socket, &[IoSlice::new(words.as_bytes())], &mut control, flags));
        match sent {
            Ok(_) => {}
            Err(error) if unread == Unread::IsLost => {
                tracing::debug!(%error, words, "the service manager was not told")
            }
            Err(error) => tracing::warn!(%error, words, "the service manager was not told"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::{linux::net::SocketAddrExt as _, unix::net};

    use super::*;

    fn next(manager: &net::UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].into()).unwrap()
    }

    #[test]
    fn words_go_to_a_path_and_to_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("roomd-test-{}", std::process::id());
        for (address, manager) in [
            (path.display().to_string(), net::UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}"),
                net::UnixDatagram::bind_addr(&net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            ),
        ] {
            let notifier = Notifier::to(&address).unwrap();
            notifier.ready();
            notifier.status("2/2 workers\nready");
            notifier.reloading();
            notifier.extend_timeout(Duration::from_millis(1500));
            assert_eq!(next(&manager), "READY=1");
            assert_eq!(next(&manager), "STATUS=2/2 workers ready");
            let reloading = next(&manager);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
            assert!(time > 0, "{reloading}");
            assert_eq!(next(&manager), "EXTEND_TIMEOUT_USEC=1500000");
        }
    }

    #[test]
    fn a_service_manager_that_does_not_read_holds_nothing_up_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = net::UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.to_str().unwrap()).unwrap();
        let begin = std::time::Instant::now();
        for _ in 0..10_000 {
            notifier.alive();
        }
        assert!(begin.elapsed() < PATIENCE, "what is said again is not waited for");
        notifier.stopping();
        assert!(begin.elapsed() < 5 * PATIENCE);
        assert_eq!(next(&manager), "WATCHDOG=1");
    }

    #[test]
    fn without_a_service_manager_words_go_nowhere() {
        let notifier = Notifier::default();
        notifier.ready();
        assert!(!notifier.is_heard());
        assert!(Notifier::to("/nowhere/notify").is_err());
    }
}
