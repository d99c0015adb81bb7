//! Memory that outlives the process that writes it, as a descriptor (memfd). It has two halves, written in turn, each with its
//! length and checksum: who dies while writing spoils one, and the other is what was before.

use std::{io, os::fd::AsFd, os::fd::BorrowedFd, os::fd::OwnedFd};

use rustix::{
    fs::{MemfdFlags, fstat, memfd_create},
    io::{pread, pwrite},
};

/// Where the second half begins. What is not written takes no memory.
const HALF: u64 = 64 << 20;
/// Magic, number, length, checksum.
const HEAD_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"roomd-st";
/// The most that fits into a half.
const MAX_BYTES: usize = HALF as usize - HEAD_BYTES;

/// See the module's documentation.
#[derive(Debug)]
pub struct StateMemory {
    file: OwnedFd,
    /// Of the half that was written last.
    number: u64,
    last: Vec<u8>,
}

impl StateMemory {
    /// New, with nothing in it.
    pub fn create() -> io::Result<StateMemory> {
        Ok(StateMemory { file: memfd_create("roomd-state", MemfdFlags::CLOEXEC)?, number: 0, last: Vec::new() })
    }

    /// What another process has written, if it is whole, and the memory to go on with.
    pub fn open(file: OwnedFd) -> (StateMemory, Option<Vec<u8>>) {
        let newest = [0, HALF].into_iter().filter_map(|at| read_half(&file, at)).max_by_key(|(number, _)| *number);
        let (number, last) = newest.unwrap_or_default();
        let found = (number > 0).then(|| last.clone());
        (StateMemory { file, number, last }, found)
    }

    /// Writes, unless that is what it holds already.
    pub fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if bytes == self.last {
            return Ok(());
        }
        if bytes.len() > MAX_BYTES {
            return Err(io::Error::other(format!("a state of {} bytes: {MAX_BYTES} is the most", bytes.len())));
        }
        let number = self.number + 1;
        let at = (number % 2) * HALF;
        // The head last: until it is there, the half is not whole.
        write_all(&self.file, &bytes, at + HEAD_BYTES as u64)?;
        write_all(&self.file, &head(number, &bytes), at)?;
        (self.number, self.last) = (number, bytes);
        Ok(())
    }
}

impl AsFd for StateMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn head(number: u64, bytes: &[u8]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..24].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    let sum = checksum(head[..24].iter().chain(bytes));
    head[24..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// FNV-1a: against accidents, not against forgers.
fn checksum<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn read_half(file: &OwnedFd, at: u64) -> Option<(u64, Vec<u8>)> {
    let mut found = [0; HEAD_BYTES];
    read_exact(file, &mut found, at)?;
    let field = |at: usize| found[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let (number, length) = (field(8)?, usize::try_from(field(16)?).ok()?);
    let there = u64::try_from(fstat(file).ok()?.st_size).ok()?.saturating_sub(at);
    if number == 0 || length > MAX_BYTES || (length + HEAD_BYTES) as u64 > there {
        return None;
    }
    let mut bytes = vec![0; length];
    read_exact(file, &mut bytes, at + HEAD_BYTES as u64)?;
    (head(number, &bytes) == found).then_some((number, bytes))
}

fn read_exact(file: &OwnedFd, mut into: &mut [u8], mut at: u64) -> Option<()> {
    while !into.is_empty() {
        match pread(file, &mut *into, at) {
            Ok(0) => return None,
            Ok(read) => {
                into = &mut into[read..];
                at += read as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match pwrite(file, bytes, at) {
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn opened(memory: &StateMemory) -> (StateMemory, Option<Vec<u8>>) {
        StateMemory::open(memory.file.try_clone().unwrap())
    }

    #[test]
    fn the_newest_is_what_is_found_and_it_goes_on_from_there() {
        let mut memory = StateMemory::create().unwrap();
        assert_eq!(opened(&memory).1, None);
        for text in ["one", "", "a longer one than before", "short"] {
            memory.write(text.into()).unwrap();
            assert_eq!(opened(&memory).1.as_deref(), Some(text.as_bytes()));
        }
        let (mut next, _) = opened(&memory);
        next.write(b"by the next".to_vec()).unwrap();
        assert_eq!(opened(&memory).1.as_deref(), Some(&b"by the next"[..]));
    }

    #[test]
    fn who_dies_while_writing_leaves_what_was_before() {
        let mut memory = StateMemory::create().unwrap();
        memory.write(b"first".to_vec()).unwrap();
        memory.write(b"second".to_vec()).unwrap();
        let at = HALF;
        let (bytes, head) = (b"third, which is longer", head(3, b"third, which is longer"));
        for written in 0..bytes.len() + HEAD_BYTES {
            let body = &bytes[..written.min(bytes.len())];
            write_all(&memory.file, body, at + HEAD_BYTES as u64).unwrap();
            write_all(&memory.file, &head[..written.saturating_sub(bytes.len())], at).unwrap();
            assert_eq!(opened(&memory).1.as_deref(), Some(&b"second"[..]), "{written}");
        }
        write_all(&memory.file, &head, at).unwrap();
        assert_eq!(opened(&memory).1.as_deref(), Some(&bytes[..]));
    }

    #[test]
    fn spoiled_bytes_are_never_taken_for_a_state() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let mut memory = StateMemory::create().unwrap();
            let states: Vec<Vec<u8>> =
                (0..rng.usize(1..5)).map(|_| (0..rng.usize(..300)).map(|_| rng.u8(..)).collect()).collect();
            for state in &states {
                memory.write(state.clone()).unwrap();
            }
            for _ in 0..rng.usize(1..6) {
                let at = u64::from(rng.bool()) * HALF + rng.u64(..350);
                write_all(&memory.file, &[rng.u8(..)], at).unwrap();
            }
            if let Some(found) = opened(&memory).1 {
                assert!(states.contains(&found), "seed {seed}");
            }
        }
    }
}
