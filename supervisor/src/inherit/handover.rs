//! From one supervisor to the next by `exec`, in the same process: what is passed, and the way back.
//!
//! The descriptors stay what numbers they are; the handover, in memory of its own, says which is what. (Moved to 3, 4, …, as a
//! service manager passes them, they would have to take the places of others, and an `exec` that fails could not be gone on from.)
//! [`Previous`] keeps them open until the new program has taken over. Where it cannot, it executes the old one again, with the
//! same descriptors: [`Previous::give_back`].

use std::{
    cell::RefCell,
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt},
    },
    path::{Path, PathBuf},
};

use nix::sys::signal::{SigSet, Signal};
use roomd_balancer::Carried;
use roomd_wire::{ConnectionId, PeerAddress, WorkerId};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{FdFlags, fcntl_setfd},
};
use serde::{Deserialize, Serialize};

use crate::{
    hub::FrozenHub,
    ledger::Ledger,
    slot::Moment,
    systemd::{Inherited, VARIABLES},
};

/// Where the handover is: the process that it is for, a colon, and a descriptor.
pub const VARIABLE: &str = "ROOMD_HANDOVER";
/// The control connection that has asked for the upgrade.
pub const ASKER: &str = "asker";
/// The old program's file.
const EXECUTABLE: &str = "executable";

/// What is passed. Fields are added with defaults, as in the state.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Handover {
    /// The version of the old program.
    pub version: String,
    /// Names and numbers.
    pub descriptors: Vec<(String, RawFd)>,
    /// Connections that no worker has acknowledged.
    pub connections: Vec<CarriedConnection>,
    /// The embedded bus.
    pub hub: Option<FrozenHub<RawFd>>,
    /// Lines of workers of which the beginning was read: of standard output, and of standard error.
    pub begun_lines: Vec<(WorkerId, Vec<Vec<u8>>)>,
    /// What workers have counted, also those that are gone.
    pub ledger: Ledger,
    /// Streams for relayed requests that were opened between workers.
    pub relays: u64,
    /// When the supervisor was started first.
    pub started: Moment,
    /// Where the old program's file is, or was.
    pub program: PathBuf,
    /// The command line of the old program, which is that of the new one too.
    pub arguments: Vec<Vec<u8>>,
    /// Why the new program could not take over: it is the old one that reads this.
    pub failed: Option<String>,
}

/// A connection that no worker has acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CarriedConnection {
    id: ConnectionId,
    peer: PeerAddress,
    socket: RawFd,
    #[serde(default)]
    sent_to: Option<WorkerId>,
    #[serde(default)]
    moved: bool,
    #[serde(default)]
    home: Option<WorkerId>,
    #[serde(default)]
    read: Vec<u8>,
}

/// What a new program says that could take over.
#[derive(Debug, Serialize, Deserialize)]
pub struct TakeoverCheck {
    /// Its version.
    pub takeover: String,
}

/// What the supervisor before had in hand.
#[derive(Debug)]
pub struct TookOver {
    /// The version of the program before.
    pub version: String,
    /// Connections that no worker has acknowledged.
    pub connections: Vec<Carried<OwnedFd>>,
    /// The embedded bus.
    pub hub: Option<FrozenHub<OwnedFd>>,
    /// Who has asked for the upgrade.
    pub asker: Option<OwnedFd>,
    /// Lines of workers of which the beginning was read.
    pub begun_lines: Vec<(WorkerId, Vec<Vec<u8>>)>,
    /// What workers have counted, also those that are gone.
    pub ledger: Ledger,
    /// Streams for relayed requests that were opened between workers.
    pub relays: u64,
    /// When the supervisor was started first.
    pub started: Moment,
    /// Why the new program could not take over: this is the old one again, and this the file it is, wherever that was.
    pub failed: Option<(String, PathBuf, OwnedFd)>,
}

/// The supervisor that this process was before.
#[derive(Debug)]
pub struct Previous {
    handover: Handover,
    /// Everything that was passed, until the takeover is done.
    kept: RefCell<Vec<(RawFd, OwnedFd)>>,
}

impl From<Carried<RawFd>> for CarriedConnection {
    fn from(Carried { id, peer, socket, sent_to, moved, home, read }: Carried<RawFd>) -> Self {
        CarriedConnection { id, peer, socket, sent_to, moved, home, read }
    }
}

impl Handover {
    /// Names a descriptor that is to be passed.
    pub fn pass(&mut self, name: impl Into<String>, descriptor: impl AsFd) {
        self.descriptors.push((name.into(), descriptor.as_fd().as_raw_fd()));
    }

    /// Becomes the program at this path. Returns only if that fails; nothing is different then.
    pub fn execute(mut self, program: &Path) -> io::Error {
        let old = match rustix::fs::open("/proc/self/exe", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()) {
            Ok(old) => old,
            Err(error) => return error.into(),
        };
        self.pass(EXECUTABLE, &old);
        self.arguments = std::env::args_os().map(OsStringExt::into_vec).collect();
        execute(program.as_os_str(), &self)
    }

    fn numbers(&self) -> impl Iterator<Item = RawFd> {
        let named = self.descriptors.iter().map(|(_, number)| *number);
        let connections = self.connections.iter().map(|connection| connection.socket);
        named.chain(connections).chain(self.hub.iter().flat_map(FrozenHub::sockets).copied())
    }
}

impl Previous {
    /// What this process was given by the program that it was before; none if it was none.
    pub fn of_process() -> Option<Previous> {
        let text = std::env::var_os(VARIABLE)?;
        let (process, number) = text.to_str()?.split_once(':')?;
        if process.parse() != Ok(std::process::id()) {
            return None;
        }
        let memory = own(number.parse().ok()?)?;
        let bytes = std::fs::read(format!("/proc/self/fd/{}", memory.as_raw_fd())).ok()?;
        let handover: Handover = match rmp_serde::from_slice(&bytes) {
            Ok(handover) => handover,
            Err(error) => {
                // The old program cannot be found either: its number is in there.
                eprintln!("roomd: what the program before has left cannot be read: {error}");
                return None;
            }
        };
        let kept = handover.numbers().filter_map(|number| Some((number, own(number)?))).collect();
        Some(Previous { handover, kept: RefCell::new(kept) })
    }

    /// The descriptors that have names, and what was in hand. Both are duplicates: the way back stays open.
    pub fn left(&self) -> io::Result<(Inherited, TookOver)> {
        let mut named = Vec::new();
        let (mut asker, mut executable) = (None, None);
        for (name, number) in &self.handover.descriptors {
            let descriptor = self.duplicate(*number)?;
            match name.as_str() {
                ASKER => asker = Some(descriptor),
                EXECUTABLE => executable = Some(descriptor),
                _ => named.push((name.clone(), descriptor)),
            }
        }
        let carried = |connection: &CarriedConnection| {
            let CarriedConnection { id, peer, socket, sent_to, moved, home, read } = connection.clone();
            Ok(Carried { id, peer, socket: self.duplicate(socket)?, sent_to, moved, home, read })
        };
        let connections = self.handover.connections.iter().map(carried).collect::<io::Result<_>>()?;
        let hub = self.handover.hub.clone().map(|hub| hub.map(|number| self.duplicate(number))).transpose()?;
        let failed = self.handover.failed.clone().zip(executable);
        let took_over = TookOver {
            version: self.handover.version.clone(),
            connections,
            hub,
            asker,
            begun_lines: self.handover.begun_lines.clone(),
            ledger: self.handover.ledger.clone(),
            relays: self.handover.relays,
            started: self.handover.started,
            failed: failed.map(|(reason, file)| (reason, self.handover.program.clone(), file)),
        };
        Ok((Inherited::from(named), took_over))
    }

    /// This program has taken over: there is no way back.
    pub fn taken_over(&self) {
        self.kept.take();
    }

    /// This program cannot take over: the old one goes on. Returns only if that fails too, or if it is too late.
    pub fn give_back(&self, reason: &str) -> Option<io::Error> {
        if self.kept.borrow().is_empty() {
            return None;
        }
        if self.handover.failed.is_some() {
            return Some(io::Error::other("the program before cannot go on either"));
        }
        let old = self.handover.descriptors.iter().find(|(name, _)| name == EXECUTABLE)?.1;
        let handover = Handover { failed: Some(reason.to_owned()), ..self.handover.clone() };
        let program = format!("/proc/self/fd/{old}");
        Some(execute(OsStr::new(&program), &handover))
    }

    fn duplicate(&self, number: RawFd) -> io::Result<OwnedFd> {
        let kept = self.kept.borrow();
        let found = kept.iter().find(|(kept, _)| *kept == number);
        found.map_or_else(
            || Err(io::Error::other(format!("descriptor {number} was not passed"))),
            |(_, fd)| fd.try_clone(),
        )
    }
}

/// Signals that this process handles: none may come while nobody does.
pub fn held_back() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGCHLD].into_iter().collect()
}

fn execute(program: &OsStr, handover: &Handover) -> io::Error {
    let attempt = || -> io::Result<()> {
        let bytes = rmp_serde::to_vec_named(handover).map_err(io::Error::other)?;
        // Kept open over the exec, as all that it names.
        let memory = memfd_create("roomd-handover", MemfdFlags::empty())?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&memory, rest)?..];
        }
        let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| {
                let name = name.to_str().unwrap_or_default();
                // They are of the descriptors that the old program was started with, which it has taken.
                name != VARIABLE && !name.starts_with("LISTEN_")
            })
            .collect();
        environment.push((VARIABLE.into(), format!("{}:{}", std::process::id(), memory.as_raw_fd()).into()));
        let c = |text: Vec<u8>| CString::new(text).map_err(io::Error::other);
        let program = c(program.as_bytes().to_vec())?;
        let arguments = handover.arguments.iter().map(|word| c(word.clone())).collect::<io::Result<Vec<_>>>()?;
        let environment = environment
            .into_iter()
            .map(|(name, value)| c([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<io::Result<Vec<_>>>()?;
        held_back().thread_block()?;
        set_inherited(handover, true);
        let error = match nix::unistd::execve(&program, &arguments, &environment) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        set_inherited(handover, false);
        held_back().thread_unblock()?;
        Err(error.into())
    };
    attempt().err().unwrap_or_else(|| io::Error::other("it did not begin"))
}

fn set_inherited(handover: &Handover, inherited: bool) {
    for number in handover.numbers() {
        let flags = if inherited { FdFlags::empty() } else { FdFlags::CLOEXEC };
        // One that is not open is found missing by whoever reads the handover.
        let _ = fcntl_setfd(borrow(number), flags);
    }
}

#[allow(unsafe_code)]
fn borrow<'a>(number: RawFd) -> BorrowedFd<'a> {
    // SAFETY: used for a single call, which says so where it is not open.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// A descriptor that was passed to this process, close-on-exec from now on.
#[allow(unsafe_code)]
fn own(number: RawFd) -> Option<OwnedFd> {
    fcntl_setfd(borrow(number), FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, and was left open for this very process by the program that it was before, which named it once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Variables that none of this process's children may have: they are for it alone.
pub fn private_variables() -> impl Iterator<Item = &'static str> {
    VARIABLES.into_iter().chain([VARIABLE])
}
