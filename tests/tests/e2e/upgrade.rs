//! The supervisor is replaced: by another program in the same process, and by another process after a crash.

use std::{
    fs::{self, File},
    io::{IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixDatagram, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use roomd_tests::{Cluster, Node, RedisServer, eventually, eventually_within, program};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

/// Clients that connect all the time, each with a request of its own; none may be refused.
struct Storm {
    over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Storm {
    fn begin(server: SocketAddr) -> Storm {
        let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let rush = |number: u64| {
            let (over, served) = (over.clone(), served.clone());
            thread::spawn(move || {
                let mut refused = Vec::new();
                while !over.load(Relaxed) {
                    // Some take their time between the parts of their head.
                    match handshake(server, Duration::from_millis(number * 7)) {
                        Ok(()) => drop(served.fetch_add(1, Relaxed)),
                        Err(error) => refused.push(error),
                    }
                }
                refused
            })
        };
        let threads = (0..4).map(rush).collect();
        let storm = Storm { over, served, threads };
        eventually("the storm has begun", || (storm.served.load(Relaxed) > 20).then_some(()));
        storm
    }

    fn end(self) {
        let before = self.served.load(Relaxed);
        eventually("it is served on", || (self.served.load(Relaxed) > before + 20).then_some(()));
        self.over.store(true, Relaxed);
        for one in self.threads {
            assert_eq!(one.join().unwrap(), Vec::<String>::new());
        }
    }
}

/// A new session by polling.
fn handshake(server: SocketAddr, pause: Duration) -> Result<(), String> {
    let exchange = || -> std::io::Result<String> {
        let mut client = TcpStream::connect(server)?;
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        client.write_all(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n")?;
        thread::sleep(pause);
        client.write_all(b"Connection: close\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match exchange() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(answer) => Err(answer.lines().next().unwrap_or("nothing").to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Clients of the chat on each of two workers.
fn on_both_workers(node: &mut Node, url: &str, sockets: impl Fn() -> Vec<u64>) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < 2 || sockets().contains(&0) {
        assert!(names.len() < 32, "all clients are on one worker");
        let name = format!("c{}", names.len());
        node.connect(&name, url, json!({"transports": ["websocket"]}));
        names.push(name);
        let all = names.len() as u64;
        eventually("all are counted", || (sockets().iter().sum::<u64>() == all).then_some(()));
    }
    names
}

fn sockets(status: &Value) -> Vec<u64> {
    let workers = status["workers"].as_array().unwrap().iter();
    workers.filter(|worker| worker["state"] == "ready").map(|worker| worker["sockets"].as_u64().unwrap()).collect()
}

fn id(node: &mut Node, client: &str) -> String {
    let state = node.ask(json!({"do": "state", "name": client}));
    assert_eq!(state["connected"], true, "{client}: {state}");
    state["id"].as_str().unwrap().to_owned()
}

fn executable(path: &Path, content: &[u8]) -> PathBuf {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// What a command that fails says.
fn words(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(words.lines().count(), 1, "{words}");
    words
}

#[test]
fn an_upgrade_keeps_the_process_and_refuses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let installed = executable(&folder.path().join("roomd"), &fs::read(program("roomd")).unwrap());
    let public = folder.path().join("public.sock");
    let mut cluster = Cluster::build(2)
        .executable(installed.clone())
        .argument("--listen")
        .argument(&format!("unix:{}", public.display()))
        .config("[cluster]\ngrace = \"2s\"\n")
        .start();
    let (server, listeners, admin) = (cluster.address(), cluster.addresses().to_vec(), cluster.admin());
    let before = cluster.worker_pids();
    // As a package manager replaces it.
    let new = executable(&folder.path().join("roomd.new"), &fs::read(program("roomd")).unwrap());
    fs::rename(&new, &installed).unwrap();
    let storm = Storm::begin(server);
    for generation in 2..4 {
        let said = cluster.run(&["upgrade"]);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            said,
            format!("from roomd {version} to {version} (process {}), 2 workers replaced\n", cluster.pid())
        );
        let status = cluster.status();
        assert_eq!(status["supervisor"]["pid"], cluster.pid());
        assert_eq!(
            (status["listeners"].as_array().unwrap().len(), status["admin"].as_str().unwrap()),
            (2, &*format!("http://{admin}"))
        );
        for slot in 0..2 {
            assert_eq!(cluster.worker(slot)["generation"], generation);
        }
    }
    storm.end();
    cluster.eventually("the old ones are gone", |_| (cluster.worker_pids().len() == 2).then_some(()));
    assert!(before.iter().all(|pid| !cluster.worker_pids().contains(pid)));
    assert_eq!(cluster.addresses(), listeners);
    assert!(std::os::unix::net::UnixStream::connect(&public).is_ok());
    cluster.run(&["stop"]);
    assert!(cluster.await_end(Duration::from_secs(5)).success());
    assert!(!public.exists() && !cluster.control().exists(), "their files go with the last program");
}

/// The new program says that it can, and then cannot: this process has been it, and is the old one again.
fn falls_back(cluster: &Cluster) {
    let real = program("roomd");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in takeover) exec {real} \"$@\";; esac\nexec {real} up --config /missing/cluster.toml\n",
        real = real.display()
    );
    let program = executable(&cluster.folder().join("broken"), script.as_bytes());
    let mut node = Node::start("clients.mjs", &[]);
    let names = on_both_workers(&mut node, &cluster.url(), || sockets(&cluster.status()));
    let ids: Vec<_> = names.iter().map(|name| id(&mut node, name)).collect();
    let (workers, storm) = (cluster.worker_pids(), Storm::begin(cluster.address()));
    let mut sent = 0;
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| cluster.command(&["upgrade", "--binary", program.to_str().unwrap()]));
        while !upgrade.is_finished() {
            for name in &names {
                node.emit(name, "chatMessage", json!([format!("number {sent}")]));
                sent += 1;
            }
        }
        let words = words(&upgrade.join().unwrap());
        assert!(words.contains("/missing/cluster.toml") && words.contains("the old supervisor serves on"), "{words}");
    });
    storm.end();
    // Nobody was disconnected, and nothing that was said meanwhile was lost on the way from worker to worker.
    for (name, before) in names.iter().zip(&ids) {
        assert_eq!(&id(&mut node, name), before);
        let texts = |node: &mut Node| {
            let heard = node.events(name, "message").into_iter();
            let texts = heard.filter_map(|args| Some(args[0]["text"].as_str()?.to_owned()));
            texts.filter(|text| text.starts_with("number ")).collect::<Vec<_>>()
        };
        eventually("all of it is heard", || (texts(&mut node).len() >= sent).then_some(()));
        let heard = texts(&mut node);
        assert_eq!(heard.len(), sent, "each once");
        assert!((0..sent).all(|number| heard.contains(&format!("number {number}"))));
    }
    assert_eq!(cluster.worker_pids(), workers);
    assert_eq!(cluster.status()["supervisor"]["pid"], cluster.pid());
    // It supervises on: what dies is started again, its children are known to it, and the next upgrade succeeds.
    cluster.run(&["kill", "0"]);
    cluster.eventually("it is replaced", |_| {
        (cluster.worker(0)["state"] == "ready" && cluster.worker(0)["generation"] == 2).then_some(())
    });
    assert_eq!(cluster.worker(0)["last_death"]["detail"], "signal KILL");
    cluster.run(&["upgrade", "--binary", real.to_str().unwrap()]);
}

#[test]
fn a_program_that_fails_after_it_has_said_that_it_can_gives_all_back() {
    let cluster = Cluster::build(2).config("[cluster]\ngrace = \"1s\"\n").start();
    falls_back(&cluster);
}

#[test]
fn the_same_with_redis() {
    let redis = RedisServer::start(&[]);
    let cluster = Cluster::build(2).config("[cluster]\ngrace = \"1s\"\n").redis(&redis.url()).start();
    falls_back(&cluster);
}

#[test]
fn a_program_that_cannot_take_over_is_not_begun_with() {
    let cluster = Cluster::build(1).start();
    let (folder, before) = (cluster.folder(), cluster.status());
    let whole = fs::read(program("roomd")).unwrap();
    for (name, content, expected) in [
        ("refuses", &b"#!/bin/sh\necho 'no way today' >&2\nexit 1\n"[..], "no way today"),
        ("silent", b"#!/bin/sh\nexit 0\n", "does not say that it can"),
        ("truncated", &whole[..whole.len() / 3], "truncated"),
        ("text", b"this is no program", "cannot start"),
    ] {
        let path = executable(&folder.join(name), content);
        let words = words(&cluster.command(&["upgrade", "--binary", path.to_str().unwrap()]));
        assert!(words.contains(expected) && words.contains("the old supervisor serves on"), "{name}: {words}");
    }
    let words = words(&cluster.command(&["upgrade", "--binary", "/nowhere/roomd"]));
    assert!(words.contains("/nowhere/roomd") && words.contains("No such file"), "{words}");
    // What it would read is wrong: it says so itself.
    fs::write(folder.join("cluster.toml"), "[cluster]\nworkers = \"none\"\n").unwrap();
    let words = self::words(&cluster.command(&["upgrade"]));
    assert!(words.contains("workers"), "{words}");
    let after = cluster.status();
    for key in ["pid", "generation", "state", "restarts"] {
        assert_eq!(after["workers"][0][key], before["workers"][0][key], "{key}");
    }
}

#[test]
fn an_upgrade_refuses_what_a_reload_would_refuse_and_a_file_that_is_gone() {
    let place = |port: u16| format!("[cluster]\nlisten = \"127.0.0.1:{port}\"\nhost = 3\n");
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let own = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let cluster = Cluster::build(1).no_listener().config(&place(own)).start();
    let file = cluster.folder().join("cluster.toml");
    let pid = cluster.worker(0)["pid"].clone();
    for (text, told) in [
        (place(taken.local_addr().unwrap().port()), "listen"),
        (place(own).replace("host = 3", "host = 4"), "host"),
        (place(own) + "[redis]\nurl = \"redis://127.0.0.1:1\"\n", "url"),
    ] {
        fs::write(&file, text).unwrap();
        let words = words(&cluster.command(&["upgrade"]));
        assert!(words.contains(told) && words.contains("cluster.toml:"), "{words}");
    }
    fs::remove_file(&file).unwrap();
    let words = words(&cluster.command(&["upgrade"]));
    assert!(words.contains("cluster.toml"), "{words}");
    assert_eq!(cluster.worker(0)["pid"], pid, "nothing was touched");
    handshake(cluster.address(), Duration::ZERO).unwrap();
    fs::write(&file, place(own)).unwrap();
    cluster.run(&["upgrade"]);
}

/// Stands in for systemd: keeps what a process gives it, and passes that to the next one.
struct Manager {
    folder: tempfile::TempDir,
    store: Arc<Mutex<Vec<(String, OwnedFd)>>>,
    process: Child,
    port: u16,
    config: &'static str,
}

impl Manager {
    fn start(config: &'static str) -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let store = Arc::new(Mutex::new(Vec::new()));
        thread::spawn({
            let store = store.clone();
            move || while receive(&socket, &store) {}
        });
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        fs::write(folder.path().join("cluster.toml"), config).unwrap();
        let process = launch(folder.path(), port, Vec::new());
        let manager = Manager { folder, store, process, port, config };
        manager.await_ready();
        manager
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        let passed: Vec<_> =
            self.store.lock().unwrap().iter().map(|(name, fd)| (name.clone(), fd.try_clone().unwrap())).collect();
        assert!(!self.config.is_empty());
        self.process = launch(self.folder.path(), self.port, passed);
        self.await_ready();
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("roomd"));
        command.args(arguments).arg("--control").arg(self.folder.path().join("control.sock"));
        command.env_clear().output().unwrap()
    }

    fn await_ready(&self) {
        let output = self.command(&["wait", "--timeout", "20s"]);
        assert!(output.status.success(), "{output:?}\n{}", self.log());
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.command(&["status", "--json"]).stdout).unwrap_or_default()
    }

    fn workers(&self) -> Vec<(u64, u64)> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers.map(|worker| (worker["pid"].as_u64().unwrap_or(0), worker["generation"].as_u64().unwrap())).collect()
    }

    fn names(&self) -> Vec<String> {
        self.store.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Without the store, workers see the end of their supervisor.
        self.store.lock().unwrap().clear();
        if thread::panicking() {
            eprintln!("--- the supervisors' log\n{}\n---", self.log());
        }
    }
}

#[allow(unsafe_code)]
fn launch(folder: &Path, port: u16, passed: Vec<(String, OwnedFd)>) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let names: Vec<_> = passed.iter().map(|(name, _)| name.as_str()).collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(program("roomd"))
        .args(["up", "--workers", "2", "--admin", "off", "--listen", &format!("127.0.0.1:{port}")])
        .args(["--config", "cluster.toml", "--control", "control.sock"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("ROOMD_LOG", "info,roomd_worker=debug")
        .env("LISTEN_FDS", passed.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    // First out of the way of the places where they are to be.
    let high: Vec<OwnedFd> = passed.iter().map(|(_, fd)| rustix::io::fcntl_dupfd_cloexec(fd, 300).unwrap()).collect();
    // SAFETY: dup2 alone is called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for (place, fd) in (3..).zip(&high) {
                if nix::libc::dup2(fd.as_raw_fd(), place) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}

/// One word of the process.
fn receive(socket: &UnixDatagram, store: &Mutex<Vec<(String, OwnedFd)>>) -> bool {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let Ok(received) = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    else {
        return false;
    };
    let text = String::from_utf8_lossy(&bytes[..received.bytes]).into_owned();
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = descriptors.flatten().collect();
    let mut store = store.lock().unwrap();
    if text.starts_with("FDSTORE=1") {
        store.extend(descriptors.into_iter().map(|fd| (name.unwrap().to_owned(), fd)));
    } else if text.starts_with("FDSTOREREMOVE=1") {
        store.retain(|(stored, _)| Some(stored.as_str()) != name);
    }
    true
}

fn alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

#[test]
fn workers_outlive_a_crash_of_the_supervisor_and_are_adopted_by_the_next() {
    let mut manager = Manager::start("[cluster]\ngrace = \"1s\"\n");
    let mut node = Node::start("clients.mjs", &[]);
    let names = on_both_workers(&mut node, &manager.url(), || sockets(&manager.status()));
    let ids: Vec<_> = names.iter().map(|name| id(&mut node, name)).collect();
    let workers = manager.workers();
    for crash in 0..2 {
        manager.kill();
        // Nobody supervises: a worker serves its own clients on, and those who come wait.
        node.emit(&names[0], "chatMessage", json!([format!("alone {crash}")]));
        node.eventually("it hears itself", &json!({"do": "events", "name": names[0], "event": "message"}), |events| {
            events.to_string().contains(&format!("alone {crash}"))
        });
        let early = TcpStream::connect(("127.0.0.1", manager.port)).unwrap();
        manager.restart();
        drop(early);
        assert_eq!(manager.workers(), workers, "the same processes");
        let clients = names.len() as u64;
        eventually("connections are counted", || {
            let status = manager.status();
            let live: u64 =
                status["workers"].as_array()?.iter().filter_map(|worker| worker["connections"].as_u64()).sum();
            (live == clients).then_some(())
        });
        // The bus is a new one: what is said reaches the other worker again.
        for name in &names {
            node.emit(name, "chatMessage", json!([format!("again {crash} by {name}")]));
        }
        for (name, before) in names.iter().zip(&ids) {
            assert_eq!(&id(&mut node, name), before);
            for other in &names {
                let wanted = format!("again {crash} by {other}");
                node.eventually("all hear it", &json!({"do": "events", "name": name, "event": "message"}), |events| {
                    events.to_string().contains(&wanted)
                });
            }
        }
        node.connect(&format!("late{crash}"), &manager.url(), json!({"transports": ["websocket"]}));
        node.ask(json!({"do": "disconnect", "name": format!("late{crash}")}));
        eventually("and its end is seen", || {
            let status = manager.status();
            let live: u64 =
                status["workers"].as_array()?.iter().filter_map(|worker| worker["connections"].as_u64()).sum();
            (live == clients).then_some(())
        });
    }
    // They are nobody's children now, and are supervised all the same.
    let (first, _) = workers[0];
    assert!(manager.command(&["kill", "0"]).status.success());
    eventually("it is replaced", || {
        let workers = manager.workers();
        (workers[0].1 == 2 && alive(workers[0].0) && !alive(first)).then_some(())
    });
    manager.await_ready();
    let names = manager.names();
    assert!(
        names.contains(&"store-worker-0.2".to_owned()) && !names.contains(&"store-worker-0.1".to_owned()),
        "{names:?}"
    );
    assert!(manager.command(&["reload"]).status.success(), "{}", manager.log());
    assert!(manager.command(&["stop"]).status.success());
    manager.process.wait().unwrap();
    eventually("all are gone", || workers.iter().all(|(pid, _)| !alive(*pid)).then_some(()));
}

#[test]
fn a_worker_that_dies_while_there_is_no_supervisor_is_replaced_by_the_next() {
    let mut manager = Manager::start("[cluster]\ngrace = \"1s\"\n");
    let workers = manager.workers();
    manager.kill();
    let dead = workers[1].0;
    assert!(Command::new("kill").args(["-KILL", &dead.to_string()]).status().unwrap().success());
    eventually("it is gone", || (!alive(dead)).then_some(()));
    manager.restart();
    assert_eq!(manager.workers()[0], workers[0]);
    assert_eq!(manager.workers()[1].1, 2, "{}", manager.log());
    // A reload after it replaces both.
    assert!(manager.command(&["upgrade"]).status.success(), "{}", manager.log());
    assert_eq!(manager.workers().iter().map(|(_, generation)| *generation).max(), Some(3));
}

#[test]
fn workers_that_no_supervisor_takes_over_end_after_their_time() {
    let mut manager = Manager::start("[cluster]\ngrace = \"1s\"\norphan_timeout = \"2s\"\n");
    let workers = manager.workers();
    manager.kill();
    let begin = Instant::now();
    thread::sleep(Duration::from_secs(1));
    assert!(workers.iter().all(|(pid, _)| alive(*pid)), "they wait");
    eventually_within(Duration::from_secs(20), "they end", || {
        workers.iter().all(|(pid, _)| !alive(*pid)).then_some(())
    });
    assert!(begin.elapsed() > Duration::from_secs(2));
    // Who comes too late begins anew.
    manager.restart();
    assert!(manager.workers().iter().all(|(_, generation)| *generation == 2), "{}", manager.log());
}
