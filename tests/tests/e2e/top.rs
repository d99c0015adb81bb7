//! `roomd top` in a real terminal, over a real cluster.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use roomd_tests::{Cluster, Node, Terminal, eventually, program};
use serde_json::json;

/// A terminal in which the cluster of this control socket is watched.
fn watching(control: &Path) -> Terminal {
    let terminal = Terminal::open(80, 24);
    let pid = terminal.folder().join("pid");
    let roomd = program("roomd");
    // So that the test knows the process.
    let script = format!(
        "#!/bin/sh\necho $$ >{}\nexec {} top --interval 500ms --control {}\n",
        pid.display(),
        roomd.display(),
        control.display()
    );
    fs::write(terminal.folder().join("watch"), script).unwrap();
    terminal.type_line(&format!("clear; sh {}", terminal.folder().join("watch").display()));
    terminal.sees("q leave");
    terminal
}

fn restored(terminal: &Terminal) {
    eventually("the shell has its terminal back", || (!terminal.is_taken()).then_some(()));
    // Asked again: a shell that is still about its prompt has the terminal as it wants it.
    eventually("the terminal is as a shell leaves it", || {
        terminal.type_line("clear; stty -a | grep -ow -e '-*icanon' -e '-*echo' | tr '\\n' ' '");
        std::thread::sleep(std::time::Duration::from_millis(200));
        let screen = terminal.screen();
        let told = screen.contains("icanon echo") && !screen.contains("-icanon") && !screen.contains("-echo ");
        (told && !screen.contains("q leave")).then_some(())
    });
}

/// The words of the table's row of a slot, after its title's.
fn cell<'a>(screen: &'a str, slot: &str, column: &str) -> Option<&'a str> {
    let mut lines = screen.lines().skip_while(|line| !line.starts_with("SLOT"));
    let at = lines.next()?.split_whitespace().position(|title| title == column)?;
    let row = lines.find(|line| line.split_whitespace().next() == Some(slot))?;
    row.split_whitespace().nth(at)
}

#[test]
fn it_shows_clients_their_events_and_how_workers_die_and_leaves_the_terminal_as_it_was() {
    let cluster = Cluster::start(2);
    let mut node = Node::start("clients.mjs", &[]);
    for name in ["a", "b", "c"] {
        node.connect(name, &cluster.url(), json!({"transports": ["websocket"]}));
    }
    let terminal = watching(&cluster.control());
    let screen = terminal.sees("3 connections");
    assert!(screen.starts_with("roomd ") && screen.contains("2 of 2 workers ready"), "{screen}");
    let number = |screen: &str, slot, column| cell(screen, slot, column).and_then(|cell| cell.parse::<f64>().ok());
    eventually("events are seen each second", || {
        for name in ["a", "b", "c"] {
            node.emit(name, "nothing", json!(["x"]));
        }
        let screen = terminal.screen();
        let sum = |column| Some(number(&screen, "0", column)? + number(&screen, "1", column)?);
        (sum("SOCKETS") == Some(3.0) && sum("EV/s")? > 0.0 && !screen.contains(" 0 events in")).then_some(())
    });

    cluster.run(&["kill", "1"]);
    let screen = terminal.sees("kill: signal KILL");
    assert_eq!(cell(&screen, "1", "DIED"), Some("1"), "{screen}");
    terminal.shows("the next generation", |screen| cell(screen, "1", "GEN") == Some("2"));

    terminal.resize(60, 12);
    let screen = terminal.shows("the keys in the new last line", |screen| {
        screen.lines().nth(11).is_some_and(|line| line.starts_with("q leave"))
    });
    assert!(cell(&screen, "0", "STATE") == Some("ready"), "{screen}");
    terminal.resize(160, 40);
    terminal.sees("LAST DEATH");

    terminal.press("s");
    terminal.sees("order: GEN");
    terminal.press("h");
    terminal.sees("this help");
    terminal.press("Escape");
    terminal.press("p");
    terminal.sees("PAUSED");
    terminal.press("q");
    restored(&terminal);
}

/// A supervisor that a test can replace by another one.
struct Supervisor(Child);

impl Supervisor {
    fn start(control: &Path) -> Supervisor {
        let mut command = Command::new(program("roomd"));
        command.args(["--workers", "1", "--listen", "127.0.0.1:0", "--admin", "off", "--control"]).arg(control);
        command.current_dir(control.parent().unwrap()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = Supervisor(command.spawn().unwrap());
        let mut wait = Command::new(program("roomd"));
        assert!(wait.args(["wait", "--control"]).arg(control).status().unwrap().success());
        supervisor
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_outlives_the_supervisor_and_finds_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control.sock");
    let first = Supervisor::start(&control);
    let terminal = watching(&control);
    terminal.sees(&format!("pid {}", first.0.id()));
    drop(first);
    let screen = terminal.sees("no cluster runs with the control socket");
    assert!(screen.contains("no answer for"), "{screen}");
    let second = Supervisor::start(&control);
    let screen = terminal.sees(&format!("pid {}", second.0.id()));
    assert!(!screen.contains("no answer for"), "{screen}");

    // A hung one does not hang the view.
    let pid = Pid::from_raw(second.0.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    terminal.sees("does not answer");
    terminal.press("h");
    terminal.sees("this help");
    terminal.press("h");
    kill(pid, Signal::SIGCONT).unwrap();
    terminal.shows("an answer", |screen| !screen.contains("no answer for"));

    drop(second);
    terminal.sees("no answer for");
    terminal.press("C-c");
    restored(&terminal);
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_as_it_was() {
    let cluster = Cluster::start(1);
    let terminal = watching(&cluster.control());
    assert!(terminal.is_taken());
    let pid: i32 = fs::read_to_string(terminal.folder().join("pid")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    restored(&terminal);
}

#[test]
fn stopped_by_ctrl_z_it_gives_the_terminal_back_and_takes_it_again() {
    let cluster = Cluster::start(1);
    let terminal = watching(&cluster.control());
    terminal.press("C-z");
    terminal.sees("Stopped");
    restored(&terminal);
    terminal.type_line("fg");
    terminal.sees("q leave");
    terminal.press("q");
    restored(&terminal);
}

#[test]
fn where_the_output_is_no_terminal_it_is_shown_once() {
    let cluster = Cluster::start(2);
    for arguments in [&["top", "--once"][..], &["top", "--interval", "200ms"]] {
        let text = cluster.run(arguments);
        assert!(text.contains("2 of 2 workers ready") && !text.contains('\u{1b}'), "{text}");
        assert_eq!((cell(&text, "0", "EV/s"), cell(&text, "1", "STATE")), (Some("0"), Some("ready")), "{text}");
    }
    let nowhere = Command::new(program("roomd")).args(["top", "--control", "/nowhere/control.sock"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no cluster runs with"));
}
