//! The service manager's store of descriptors (sd_pid_notify_with_fds(3), `FileDescriptorStoreMax=`): what is in it outlives this
//! process and is passed to the next one, see [`Inherited`](super::Inherited).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::notify::{Notifier, Unread};

/// What the names of all that this program stores begin with: they tell what was stored from what a socket unit passes.
pub const STORED: &str = "store-";

/// How long the service manager may take to carry out what it was told.
const PATIENCE_S: i64 = 5;

/// Until when a descriptor stays in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Until it is removed.
    UntilRemoved,
    /// Also no longer than until its other side hangs up (or it has an error): the service manager watches it.
    UntilHangUp,
}

/// The store. Without a service manager, or where its unit allows no store, nothing is kept. Cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Store(Notifier);

impl Store {
    /// The store of whoever the notifier tells.
    pub fn new(notifier: Notifier) -> Store {
        Store(notifier)
    }

    /// Whether there may be one.
    pub fn is_there(&self) -> bool {
        self.0.is_heard()
    }

    /// Puts a descriptor there. Its name: printable ASCII without a colon, at most 255 characters, beginning with [`STORED`]. Of
    /// one name there can be several; the same open file again is not stored twice.
    pub fn keep(&self, name: &str, descriptor: impl AsFd, keep: Keep) {
        debug_assert!(is_a_name(name), "{name}");
        let poll = match keep {
            // Listeners and memory never hang up; and a hang-up may be the very thing the next process is to see.
            Keep::UntilRemoved => "\nFDPOLL=0",
            Keep::UntilHangUp => "",
        };
        self.put(&format!("FDSTORE=1\nFDNAME={name}{poll}"), descriptor.as_fd());
    }

    /// Takes all of this name out of it.
    pub fn remove(&self, name: &str) {
        self.0.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[], Unread::Waits);
    }

    /// Waits until the service manager has carried out what it was told (sd_notify_barrier(3)): only then does a listener that was
    /// removed leave its address to others.
    pub fn settle(&self) {
        if !self.is_there() {
            return;
        }
        let (ours, theirs) = match std::io::pipe() {
            Ok(pipe) => pipe,
            Err(error) => return tracing::warn!(%error, "the service manager was not waited for"),
        };
        self.put("BARRIER=1", theirs.as_fd());
        drop(theirs);
        // It hangs up when the service manager, in turn, has closed its end.
        let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&ours, PollFlags::empty())], Some(&patience)) {
            Ok(1..) => {}
            outcome => tracing::warn!(?outcome, "the service manager did not answer"),
        }
    }

    fn put(&self, words: &str, descriptor: BorrowedFd) {
        self.0.send(words, &[descriptor], Unread::Waits);
    }
}

fn is_a_name(name: &str) -> bool {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    name.starts_with(STORED) && name.len() <= 255 && name.bytes().all(printable)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs::File, io::IoSliceMut, mem::MaybeUninit, os::unix::fs::MetadataExt as _, os::unix::net::UnixDatagram,
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    /// One message, and the inode of the descriptor that came with it.
    fn next(manager: &UnixDatagram) -> (String, Option<u64>) {
        let mut bytes = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(manager, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let inodes: Vec<_> = descriptors.flatten().map(|fd| File::from(fd).metadata().unwrap().ino()).collect();
        assert!(inodes.len() <= 1);
        (String::from_utf8(bytes[..received.bytes].into()).unwrap(), inodes.first().copied())
    }

    #[test]
    fn a_descriptor_goes_to_the_service_manager_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let store = Store::new(Notifier::to(path.to_str().unwrap()).unwrap());
        let file = tempfile::tempfile().unwrap();
        let inode = Some(file.metadata().unwrap().ino());
        store.keep("store-public-0", &file, Keep::UntilRemoved);
        store.keep("store-worker-0", &file, Keep::UntilHangUp);
        store.remove("store-public-0");
        assert_eq!(next(&manager), ("FDSTORE=1\nFDNAME=store-public-0\nFDPOLL=0".into(), inode));
        assert_eq!(next(&manager), ("FDSTORE=1\nFDNAME=store-worker-0".into(), inode));
        assert_eq!(next(&manager), ("FDSTOREREMOVE=1\nFDNAME=store-public-0".into(), None));
    }

    #[test]
    fn what_was_told_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let store = Store::new(Notifier::to(path.to_str().unwrap()).unwrap());
        let answering = std::thread::spawn(move || {
            // The descriptor that comes with it is closed at once.
            let (message, inode) = next(&manager);
            (message, inode.is_some(), std::time::Instant::now())
        });
        store.settle();
        let (message, with_descriptor, answered) = answering.join().unwrap();
        assert_eq!((message.as_str(), with_descriptor), ("BARRIER=1", true));
        assert!(answered.elapsed() < std::time::Duration::from_secs(1));
    }

    #[test]
    fn names_are_what_systemd_takes() {
        for (name, good) in [("store-public-0", true), ("store-a:b", false), ("public", false), ("store-é", false)] {
            assert_eq!(is_a_name(name), good, "{name}");
        }
    }
}
