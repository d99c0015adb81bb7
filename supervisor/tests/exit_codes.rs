//! The program as a script sees it: exit codes, and errors of one line on standard error.
#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program in a folder, with nothing of this process's environment.
fn roomd(folder: &Path, environment: &[(&str, &str)], line: &str) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_roomd"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .env("TMPDIR", folder)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn every_failure_has_its_exit_code_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    type Case = (&'static [(&'static str, &'static str)], &'static str, i32, &'static str);
    let cases: [Case; 14] = [
        (&[], "statsu", 2, "'status'"),
        (&[], "--lisen :1", 2, "'--listen'"),
        (&[], "--workers 0", 2, "from 1 to 1024"),
        (&[], "scale", 2, "required arguments were not provided: <N>"),
        (&[], "kill 0 --signal FOO", 2, "there is no signal FOO"),
        (&[], "--redis http://user:secret@host", 2, "`http` is no scheme"),
        (&[], "--config none.toml", 78, "cannot read none.toml"),
        (&[], "check --config none.toml", 78, "cannot read none.toml"),
        (&[("PORT", "http")], "up", 78, "PORT cannot be \"http\""),
        (&[("REDIS_URL", "user:secret@host")], "", 78, "REDIS_URL is no URL"),
        (&[("ROOMD_LOG", "roomd=loud")], "", 78, "ROOMD_LOG"),
        (&[], "status", 1, "no cluster runs with the control socket"),
        (&[], "wait --timeout 60ms", 1, "not ready after 60ms: no cluster runs"),
        (&[], "--admin 127.0.0.1:0 --listen unix:no/such/folder.sock", 1, "folder does not exist"),
    ];
    for (environment, line, code, words) in cases {
        let ended = roomd(here, environment, line);
        let last = ended.err.lines().last().unwrap();
        assert_eq!(ended.code, code, "{line}: {}", ended.err);
        assert!(last.starts_with("roomd: ") && last.contains(words), "{line}: {}", ended.err);
        // Only the command line's errors go on, with a hint and the usage.
        assert!(code == 2 || ended.err.lines().count() == 1, "{line}: {}", ended.err);
        assert!(ended.err.lines().filter(|line| line.starts_with("roomd: ")).count() == 1, "{line}: {}", ended.err);
        assert!(!ended.err.contains("secret"), "{line}: {}", ended.err);
    }
}

#[test]
fn check_shows_every_problem_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert_eq!(roomd(here, &[], "check").code, 0, "without a file");

    std::fs::write(here.join("cluster.toml"), "[cluster]\nworkrs = 3\n\n[socketio]\nping_interval = \"25\"\n").unwrap();
    for line in ["check", "check --config cluster.toml", "up"] {
        let ended = roomd(here, &[], line);
        assert_eq!(ended.code, 78);
        for place in ["cluster.toml:2:1: ", "did you mean `workers`?", "cluster.toml:5:17: ", "has 2 problems"] {
            assert!(ended.err.contains(place), "{line}: {}", ended.err);
        }
    }

    std::fs::write(here.join("cluster.toml"), include_str!("../../cluster.toml")).unwrap();
    let ended = roomd(here, &[("ROOMD_LISTEN", "nowhere")], "check");
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "cluster.toml: no problems\n", ""));
}

#[test]
fn help_and_version_are_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    for (line, words) in [("--help", "Usage: roomd"), ("--version", env!("CARGO_PKG_VERSION")), ("scale --help", "<N>")]
    {
        let ended = roomd(folder.path(), &[], line);
        assert!(ended.code == 0 && ended.out.contains(words) && ended.err.is_empty(), "{line}: {}", ended.out);
    }
}

/// A script that keeps `status --json` must not take an empty file for an answer.
#[test]
fn an_answer_that_could_not_be_written_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    for (line, output, code) in [
        ("check", "/dev/full", 1),
        ("--help", "/dev/full", 1),
        ("--version", "/dev/full", 1),
        ("check", "/dev/null", 0),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_roomd"))
            .args(line.split_whitespace())
            .current_dir(folder.path())
            .stdout(std::fs::File::create(output).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{line}: {said}");
        assert_eq!(said.contains("could not write to standard output: No space left"), code == 1, "{line}: {said}");
    }
}
