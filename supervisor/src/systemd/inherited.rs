//! Descriptors that this process was started with (sd_listen_fds(3)): listening sockets of socket units, what an earlier run put
//! into the service manager's store, and what a supervisor hands its successor.

use std::{
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::Store;
use crate::config::Environment;

/// The number of the first one, by convention (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// The name of a descriptor that was given none.
const UNNAMED: &str = "unknown";

/// What this process was started with and nobody has taken yet, in the order in which it was given.
///
/// What is left at the end is closed and named in the log ([`Inherited::close_rest`]): a socket that listens and that nobody
/// serves would keep its clients waiting for ever.
#[derive(Default, Debug)]
pub struct Inherited(Vec<(String, OwnedFd)>);

/// Why the descriptors cannot be had: whoever started this process made a mistake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InheritedError {
    /// A variable is no number, or not enough names.
    #[error(
        "the environment's {variable} cannot be \"{value}\": {reason}; unset LISTEN_PID to start without descriptors"
    )]
    Variable {
        /// Which.
        variable: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A descriptor that was announced is not there.
    #[error("descriptor {number} (\"{name}\") is announced by LISTEN_FDS, but is not open")]
    NotOpen {
        /// Its number.
        number: RawFd,
        /// Its name.
        name: String,
    },
}

impl Inherited {
    /// Takes them over, close-on-exec from now on. To be called once, first thing; a second call finds none.
    pub fn of_process() -> Result<Inherited, InheritedError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Relaxed) {
            return Ok(Inherited::default());
        }
        let announced = announced(&Environment::of_process(), std::process::id())?;
        announced.into_iter().map(|(number, name)| own(number, name)).collect::<Result<_, _>>().map(Inherited)
    }

    /// All whose names begin so, with their whole names.
    pub fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, OwnedFd)> {
        self.take_where(|name| name.starts_with(prefix))
    }

    /// All whose names fit.
    pub fn take_where(&mut self, fits: impl Fn(&str) -> bool) -> Vec<(String, OwnedFd)> {
        self.0.extract_if(.., |(name, _)| fits(name)).collect()
    }

    /// Closes what nobody took, also in the store, and names it in the log.
    pub fn close_rest(self, store: &Store) {
        for (name, descriptor) in self.0 {
            tracing::warn!(name, ?descriptor, "closing a descriptor that was passed to this process and is not used");
            store.remove(&name);
        }
    }
}

impl From<Vec<(String, OwnedFd)>> for Inherited {
    fn from(descriptors: Vec<(String, OwnedFd)>) -> Self {
        Inherited(descriptors)
    }
}

/// Numbers and names of what the environment announces to this process.
fn announced(environment: &Environment, process: u32) -> Result<Vec<(RawFd, String)>, InheritedError> {
    let number = |variable: &'static str| {
        let Some(value) = environment.text(variable) else { return Ok(None) };
        let number = value.parse::<u32>().ok().filter(|number| *number <= RawFd::MAX.cast_unsigned() - 3);
        let reason = "it is no number that this can have".to_owned();
        number.map(Some).ok_or(InheritedError::Variable { variable, value, reason })
    };
    // Of another process, perhaps the one that started the shell that started this.
    if number("LISTEN_PID")? != Some(process) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS")?.unwrap_or(0);
    let numbers = (FIRST..).take(count as usize);
    let Some(names) = environment.text("LISTEN_FDNAMES") else {
        // Lazily, for the count may be nonsense: the first one that is not open ends it.
        return numbers.map(|number| Ok((number, UNNAMED.to_owned()))).collect();
    };
    let split: Vec<&str> = names.split(':').collect();
    if split.len() != count as usize {
        let reason = format!("these are {} names, for the {count} descriptors of LISTEN_FDS", split.len());
        return Err(InheritedError::Variable { variable: "LISTEN_FDNAMES", value: names, reason });
    }
    Ok(numbers.zip(split.into_iter().map(str::to_owned)).collect())
}

#[allow(unsafe_code)]
fn own(number: RawFd, name: String) -> Result<(String, OwnedFd), InheritedError> {
    // SAFETY: borrowed for the two calls below alone, which say so where it is not open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(descriptor).and_then(|flags| fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC)).is_err() {
        return Err(InheritedError::NotOpen { number, name });
    }
    // SAFETY: it is open, and was given to this very process (LISTEN_PID) at its start. Nobody else here knows of it: this is
    // the one place that reads the variables, and it does so once.
    Ok((name, unsafe { OwnedFd::from_raw_fd(number) }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd as _};

    use super::*;

    fn announce(variables: &[(&str, &str)]) -> Result<Vec<(RawFd, String)>, InheritedError> {
        announced(&variables.iter().copied().collect(), 42)
    }

    #[test]
    fn only_what_is_announced_to_this_process_is_its_own() {
        let names = |names: &[&str]| (3..).zip(names.iter().map(|&name| name.to_owned())).collect::<Vec<_>>();
        for (variables, expected) in [
            (&[][..], &[][..]),
            (&[("LISTEN_FDS", "2")], &[]),
            (&[("LISTEN_PID", "41"), ("LISTEN_FDS", "2")], &[]),
            (&[("LISTEN_PID", "42")], &[]),
            (&[("LISTEN_PID", "42"), ("LISTEN_FDS", "0")], &[]),
            (&[("LISTEN_PID", "42"), ("LISTEN_FDS", "2")], &["unknown", "unknown"]),
            (&[("LISTEN_PID", "42"), ("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "a::b")], &["a", "", "b"]),
        ] {
            assert_eq!(announce(variables).unwrap(), names(expected), "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (variables, words) in [
            (&[("LISTEN_PID", "x")][..], "LISTEN_PID cannot be \"x\""),
            (&[("LISTEN_PID", "42"), ("LISTEN_FDS", "-1")], "LISTEN_FDS cannot be \"-1\""),
            (&[("LISTEN_PID", "42"), ("LISTEN_FDS", "4294967295")], "LISTEN_FDS cannot be"),
            (&[("LISTEN_PID", "42"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "a:b")], "2 names, for the 1 descriptors"),
        ] {
            let error = announce(variables).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = own(1_000_000, "gone".into()).unwrap_err().to_string();
        assert!(error.contains("1000000 (\"gone\")"), "{error}");
    }

    #[test]
    fn each_is_given_out_once_by_its_name_and_is_not_inherited_further() {
        let file = || std::mem::ManuallyDrop::new(File::open("/dev/null").unwrap()).as_raw_fd();
        let given = ["worker-0", "state", "worker-1", "state"].map(|name| own(file(), name.into()).unwrap());
        assert!(given.iter().all(|(_, descriptor)| fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC)));
        let mut inherited = Inherited(given.into());
        let workers = inherited.take_prefixed("worker-");
        assert_eq!(workers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["worker-0", "worker-1"]);
        assert!(inherited.take_prefixed("worker-").is_empty());
        assert_eq!((inherited.take_where(|name| name == "state").len(), inherited.0.len()), (2, 0));
    }
}
