//! The control socket's file: made so that only its user reaches it, and so that no running supervisor loses its own.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::stat::{Mode, fchmod},
    unistd::Uid,
};
use socket2::{Domain, SockAddr, Socket, Type};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 64;

/// The supervisor's control socket, listening. Its file is taken away when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode of the socket's file: another's that took its place is left alone. None if the file shall stay.
    file: Option<(u64, u64)>,
    /// It becomes its own when it serves.
    claims: bool,
    /// Held for as long as the supervisor lives; the kernel lets go of it however that ends.
    _lock: Option<Flock<File>>,
}

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another supervisor has it.
    #[error(
        "a cluster already runs with the control socket {}: stop it with `roomd stop --control {}`, or give this one \
         another with --control",
        .0.display(), .0.display()
    )]
    AlreadyRunning(PathBuf),
    /// Something that is no socket is there.
    #[error("{} is there and is no socket: take it away, or choose another path with --control", .0.display())]
    NotASocket(PathBuf),
    /// The folder is someone else's, who could put a socket of their own there.
    #[error("the control socket's folder {} belongs to user {owner}: choose another with --control", folder.display())]
    ForeignFolder {
        /// The folder.
        folder: PathBuf,
        /// The owner's user id.
        owner: u32,
    },
    /// The folder lets everyone replace what is in it.
    #[error("everyone may replace files in the control socket's folder {}: `chmod o-w` it, or choose another with --control", .0.display())]
    OpenFolder(PathBuf),
    /// The operating system refused.
    #[error("could not {what} {}: {source}; choose another path with --control", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Makes the socket. A file that a dead supervisor left is replaced, one that somebody answers on is not.
    pub fn bind(path: &Path) -> Result<ControlSocket, SocketError> {
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", path)(error)),
            Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.into())),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(SocketError::AlreadyRunning(path.into())),
            Ok(_) => fs::remove_file(path).map_err(failed("take away the stale socket", path))?,
        }
        let listener = listen(path).map_err(failed("make the control socket", path))?;
        let file = fs::symlink_metadata(path).map_err(failed("look at", path))?;
        Ok(ControlSocket {
            listener: Some(listener),
            path: path.into(),
            file: Some((file.dev(), file.ino())),
            claims: false,
            _lock: Some(lock),
        })
    }

    /// Takes a socket that listens already at this path. Its file stays. No lock is taken: whoever would bind another one here finds
    /// that this one answers, and a socket unit's folder need not be writable.
    pub fn adopt(path: &Path, socket: OwnedFd) -> Result<ControlSocket, SocketError> {
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true).map_err(failed("take over", path))?;
        Ok(ControlSocket { listener: Some(listener), path: path.into(), file: None, claims: false, _lock: None })
    }

    /// It was made by the program that this process was before, and its file goes with it, too; from when it serves, since until then
    /// that program may have it back.
    pub fn own(&mut self) {
        self.claims = true;
    }

    /// From now on somebody else holds it too, for the next supervisor: its file stays.
    pub fn keep(&mut self) {
        self.file = None;
    }

    /// The socket, until the runtime has it.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// The listener, for the runtime; once.
    pub(super) fn take_listener(&mut self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.take().ok_or_else(|| io::Error::other("the control socket is served already"))?;
        if self.claims {
            self.file = fs::symlink_metadata(&self.path).ok().map(|file| (file.dev(), file.ino()));
        }
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let Some(ours) = self.file else { return };
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == ours) {
            // Nothing is left to be done about a failure: the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_path_buf();
    move |source| SocketError::Io { what, path, source }
}

/// The right to be the one supervisor of this socket, in a folder that is fit for it.
fn lock(path: &Path) -> Result<Flock<File>, SocketError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make the folder", folder))?;
    check_folder(folder)?;

    let lock_path = lock_path(path);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&lock_path)
        .map_err(failed("open the lock", &lock_path))?;
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => SocketError::AlreadyRunning(path.into()),
        error => SocketError::Io { what: "take the lock", path: lock_path.clone(), source: error.into() },
    })
}

/// A socket that is listening from the first moment with the mode it shall have: Linux takes the mode that the descriptor has
/// when it is bound, so that no umask, which would be the whole process's, has to be set.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn check_folder(folder: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { what: "look at the folder", path: folder.into(), source };
    let us = Uid::effective().as_raw();
    let place = fs::symlink_metadata(folder).map_err(failed)?;
    let target = fs::metadata(folder).map_err(failed)?;
    for owner in [place.uid(), target.uid()] {
        if owner != us && owner != 0 {
            return Err(SocketError::ForeignFolder { folder: folder.into(), owner });
        }
    }
    let mode = target.permissions().mode();
    let is_our_own_kind = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("roomd-"));
    if is_our_own_kind && target.uid() == us && mode & 0o077 != 0 {
        return fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed);
    }
    // The sticky bit, as of /tmp, keeps others from replacing what is not theirs.
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(SocketError::OpenFolder(folder.into()));
    }
    Ok(())
}

/// Beside the socket: the file that is locked, for a socket itself cannot be.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
