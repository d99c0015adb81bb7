//! Only the operator operates, and each of his orders is told with who gave it.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Uid};
use roomd_tests::{Cluster, eventually, http::Connection, program};
use serde_json::Value;

const TOKEN: &str = "5ecret-5ecret-5ecret";

fn audited(cluster: &Cluster) -> Vec<Value> {
    let log = cluster.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "roomd::audit").collect()
}

fn awaited(cluster: &Cluster, command: &str, outcome: &str) -> Value {
    eventually(&format!("{command} {outcome} is told"), || {
        let mut lines = audited(cluster).into_iter();
        lines.find(|line| line["command"] == command && line["outcome"] == outcome)
    })
}

#[test]
fn every_command_that_changes_something_is_told_with_who_asked() {
    let cluster = Cluster::build(2).config("[log]\nformat = \"json\"\n").start();
    for (arguments, command, detail) in [
        (&["scale", "3"][..], "scale", "to 3 workers"),
        (&["reload"], "reload", ""),
        (&["kill", "1"], "kill", "slot 1, signal KILL"),
        (&["log", "info", "--for", "1m"], "log", "info, for 60 s"),
        (&["emit", "x"], "emit", " bytes"),
        (&["sockets", "join", "n", "--in", "r"], "sockets join", " bytes"),
        (&["sockets", "leave", "n", "--in", "r"], "sockets leave", " bytes"),
        (&["sockets", "disconnect", "--in", "r"], "sockets disconnect", " bytes"),
    ] {
        cluster.run(arguments);
        let line = awaited(&cluster, command, "ok");
        assert_eq!((&line["via"], &line["uid"]), (&"control".into(), &Uid::current().as_raw().into()), "{line}");
        assert!(line["user"].is_string() && line["asker_pid"].is_u64() && line["duration_ms"].is_u64(), "{line}");
        // It has its name until it ends, and that is after the answer.
        assert_eq!(line["process"], "roomd", "{line}");
        assert!(line["detail"].as_str().unwrap_or_default().ends_with(detail), "{line}");
        assert_eq!(line["level"], "INFO");
        cluster.await_ready();
    }
    assert!(!cluster.command(&["kill", "9"]).status.success());
    let line = awaited(&cluster, "kill", "error");
    assert!(line["level"] == "WARN" && line["error"].as_str().unwrap().starts_with("there is no slot 9"), "{line}");

    let order = r#"{"event":"x"}"#;
    let length = order.len();
    let request = format!(
        "POST /emit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{order}"
    );
    let mut connection = Connection::open(cluster.admin());
    connection.send(request);
    assert_eq!(connection.answer().unwrap().status, 202);
    let line = eventually("the POST is told", || audited(&cluster).into_iter().find(|line| line["via"] == "admin"));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:") && line["token"] == false, "{line}");
    assert_eq!((&line["command"], &line["outcome"]), (&"emit".into(), &"ok".into()));

    // What only asks is not told.
    cluster.run(&["status"]);
    cluster.run(&["log"]);
    assert!(audited(&cluster).iter().all(|line| line["command"] != "status"));
    assert_eq!(audited(&cluster).iter().filter(|line| line["command"] == "log").count(), 1);
    cluster.signal(Signal::SIGHUP);
    eventually("the signal is told", || {
        audited(&cluster).into_iter().find(|line| line["via"] == "signal" && line["command"] == "reload")
    });
    cluster.await_ready();
    cluster.run(&["stop"]);
    awaited(&cluster, "stop", "ok");
}

#[test]
fn orders_without_end_are_bounded_in_the_log_and_counted() {
    let mut cluster = Cluster::build(1).config("[log]\nformat = \"json\"\n").start();
    for _ in 0..150 {
        cluster.run(&["emit", "x"]);
    }
    cluster.run(&["stop"]);
    cluster.await_end(Duration::from_secs(20));
    let lines = audited(&cluster);
    let told = lines.iter().filter(|line| line["command"] == "emit").count() as u64;
    let left_out: u64 = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum();
    assert!(told >= 100 && told + left_out == 150, "{told} {left_out}");
}

/// A copy of the program that others may run, and the folder it is in.
fn for_others() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("roomd");
    fs::copy(program("roomd"), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, copy)
}

fn as_another(program: &Path, cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(program).args(arguments);
    command.arg("--control").arg(cluster.control()).current_dir("/").output().unwrap()
}

#[test]
fn another_user_is_refused_by_the_sockets_mode_and_by_the_supervisor() {
    if !Uid::current().is_root() {
        return eprintln!("only root can be another user");
    }
    let (_folder, roomd) = for_others();
    let cluster = Cluster::build(1).start();
    fs::set_permissions(cluster.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    for open in [false, true] {
        if open {
            // Were the mode lost, the kernel's word on who connects is left.
            fs::set_permissions(cluster.control(), fs::Permissions::from_mode(0o666)).unwrap();
        }
        for arguments in [&["status"][..], &["stop"], &["kill", "0"]] {
            let output = as_another(&roomd, &cluster, arguments);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && error.contains("belongs to another user"), "{arguments:?}: {error}");
        }
    }
    // A client that does not look whom it speaks to.
    let script = format!(
        "$s = IO::Socket::UNIX->new('{}') or die \"not connected: $!\"; $s->print(qq({{\"v\":1,\"command\":\"stop\"}}\\n)); print <$s>;",
        cluster.control().display()
    );
    let output = Command::new("setpriv")
        .args(["--reuid=12345", "--regid=12345", "--clear-groups", "perl", "-MIO::Socket::UNIX", "-e", &script])
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("forbidden"), "{said}");
    eventually("it is told", || {
        let log = cluster.log();
        log.lines().any(|line| line.contains("roomd::audit") && line.contains("uid 12345")).then_some(())
    });
    assert!(cluster.status()["supervisor"]["refused_operators"].as_u64().unwrap() >= 1);
    assert_eq!(cluster.worker(0)["restarts"], 0);
}

#[test]
fn the_socket_is_never_open_to_others_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/control.sock");
    let mut process = Command::new("sh")
        .args([
            "-c",
            "umask 0; exec \"$0\" up --workers 1 --listen 127.0.0.1:0 --admin off --control \"$1\" 2>/dev/null",
        ])
        .arg(program("roomd"))
        .arg(&socket)
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let first = loop {
        match fs::symlink_metadata(&socket) {
            Ok(found) => break Some(found),
            Err(_) if begin.elapsed() > Duration::from_secs(20) => break None,
            Err(_) => std::hint::spin_loop(),
        }
    };
    let folder_mode = fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777;
    process.kill().unwrap();
    process.wait().unwrap();
    let first = first.expect("the socket is made");
    assert!(first.file_type().is_socket());
    assert_eq!((first.permissions().mode() & 0o777, folder_mode), (0o600, 0o700));
}

fn read(cluster: &Cluster, target: &str, headers: &str) -> (u16, String) {
    let port = cluster.admin().port();
    let mut connection = Connection::open(([127, 0, 0, 1], port).into());
    connection.send(format!("GET {target} HTTP/1.1\r\n{headers}\r\n"));
    let answer = connection.answer().unwrap();
    (answer.status, answer.body)
}

#[test]
fn off_loopback_the_admin_listener_asks_for_the_token() {
    let host = "Host: roomd.example\r\n";
    let nobody = Cluster::build(1).admin("0.0.0.0:0").start();
    assert!(nobody.log().contains("is not on loopback and [admin] has no token"), "{}", nobody.log());
    for (target, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 403), ("/status", 403), ("/x", 404)] {
        let (got, body) = read(&nobody, target, host);
        assert_eq!(got, status, "{target}: {body}");
        assert!(status != 403 || body.contains("set `token` or `token_file` in [admin]"), "{body}");
    }
    drop(nobody);

    let cluster = Cluster::build(1).admin("0.0.0.0:0").config(&format!("[admin]\ntoken = \"{TOKEN}\"\n")).start();
    assert!(!cluster.log().contains("has no token"));
    for target in ["/metrics", "/status"] {
        assert_eq!(read(&cluster, target, host).0, 401);
        assert_eq!(read(&cluster, target, "Host: localhost\r\n").0, 401);
        let wrong = format!("{host}Authorization: Bearer {TOKEN}x\r\n");
        assert_eq!(read(&cluster, target, &wrong).0, 401);
        let right = format!("{host}Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(read(&cluster, target, &right).0, 200);
    }
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(read(&cluster, probe, host).0, 200);
    }
    // Who tries is counted, and told without what he showed.
    for _ in 0..30 {
        read(&cluster, "/status", &format!("{host}Authorization: Bearer 5ecret-5ecret-guess\r\n"));
    }
    assert!(cluster.status()["supervisor"]["refused_operators"].as_u64().unwrap() >= 36);
    let log = cluster.log();
    let told = log.lines().filter(|line| line.contains("turned away")).count();
    assert!((1..=100).contains(&told) && !log.contains("guess"), "{told}");
}

#[test]
fn on_loopback_no_name_of_a_site_reads_anything() {
    let cluster = Cluster::start(1);
    for (host, status) in [
        ("Host: 127.0.0.1:3900\r\n", 200),
        ("Host: localhost\r\n", 200),
        ("Host: [::1]:3900\r\n", 200),
        ("Host: evil.example:3900\r\n", 403),
    ] {
        assert_eq!(read(&cluster, "/status", host).0, status, "{host}");
    }
    assert_eq!(read(&cluster, "/healthz", "Host: evil.example\r\n").0, 200);
}

#[test]
fn check_says_that_nobody_may_use_an_admin_listener_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        fs::write(folder.path().join("cluster.toml"), text).unwrap();
        let output =
            Command::new(program("roomd")).arg("check").current_dir(folder.path()).env_clear().output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check("[admin]\nlisten = \"0.0.0.0:3900\"\n");
    assert!(
        said.lines().count() == 2 && said.contains("note: the admin listener 0.0.0.0:3900 is not on loopback"),
        "{said}"
    );
    assert_eq!(check(&format!("[admin]\nlisten = \"0.0.0.0:3900\"\ntoken = \"{TOKEN}\"\n")).lines().count(), 1);
    assert_eq!(check("").lines().count(), 1);
}
