//! The log: one line per event in every form, bounded, and changed while the cluster runs.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, Instant},
};

use roomd_tests::{Cluster, ClusterBuilder, eventually, http::Connection};
use serde_json::Value;

/// A cluster whose standard error alone goes to the file that comes with it.
fn start(builder: ClusterBuilder) -> (Cluster, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stderr");
    let cluster = builder.program("log_app").log_to(File::create(&path).unwrap()).start();
    (cluster, path, folder)
}

fn get(cluster: &Cluster, path: &str) {
    assert_eq!(Connection::open(cluster.address()).get(path).status, 200, "{path}");
}

/// Lines as a log collector takes them: each is an object, no key is there twice, and what every line must have is there.
fn parsed(path: &PathBuf) -> Vec<Value> {
    let bytes = fs::read(path).unwrap();
    let text = String::from_utf8(bytes).expect("the log is UTF-8");
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let object = value.as_object().unwrap_or_else(|| panic!("{line}"));
        for key in ["timestamp", "level", "target", "message"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
        assert!(object["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&object["level"].as_str().unwrap()), "{line}");
        assert!(object.values().all(|value| !value.is_object() && !value.is_array()), "flat: {line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        value
    });
    lines.collect()
}

fn find<'a>(lines: &'a [Value], message: &str) -> Option<&'a Value> {
    lines.iter().find(|line| line["message"].as_str().unwrap().contains(message))
}

#[test]
fn every_line_of_json_parses_while_workers_crash_and_the_application_prints_garbage() {
    let (mut cluster, log, _folder) = start(Cluster::build(2).config("[log]\nformat = \"json\"\n"));
    for path in ["/garbage", "/event", "/flood/3000", "/warn/50", "/garbage"] {
        get(&cluster, path);
    }
    // Not the one that has something to tell at its end.
    let warned = eventually("it is warned", || find(&parsed(&log), "the same again")?["slot"].as_u64());
    let slot = 1 - warned;
    let pid = cluster.worker_pids()[slot as usize];
    cluster.run(&["kill", &slot.to_string(), "--signal", "SEGV"]);
    let died = eventually("the death is told", || find(&parsed(&log), "died").cloned());
    assert_eq!((&died["slot"], &died["generation"]), (&slot.into(), &1.into()), "{died}");
    assert_eq!(died["worker"], format!("{slot}.1"));
    assert_eq!((&died["pid"], &died["cause"], &died["level"]), (&pid.into(), &"crash".into(), &"ERROR".into()));
    cluster.await_ready();
    cluster.run(&["reload"]);
    cluster.run(&["stop"]);
    cluster.await_end(Duration::from_secs(20));

    let lines = parsed(&log);
    let told = |message: &str| find(&lines, message).unwrap_or_else(|| panic!("{message}: {lines:#?}"));
    let printed = told("no UTF-8");
    assert_eq!(printed["message"], "\u{fffd}\u{fffd}\u{fffd} no UTF-8");
    assert_eq!((&printed["target"], &printed["level"]), (&"application".into(), &"INFO".into()));
    assert!(["stdout", "stderr"].contains(&printed["stream"].as_str().unwrap()));
    let slot = printed["slot"].as_u64().unwrap();
    assert_eq!(printed["worker"], format!("{slot}.1"));
    assert!(printed["pid"].is_u64() && printed["generation"] == 1);
    // JSON that an application prints is its words, once and not twice encoded.
    assert_eq!(told("\"level\":\"ERROR\"")["message"], r#"{"level":"ERROR","slot":99}"#);
    assert_eq!(told("a priority")["level"], "ERROR");
    assert!(lines.iter().any(|line| line["target"] == "forged"));
    assert!(lines.iter().all(|line| line["slot"] != 99), "a worker cannot pass for another");

    let event = told("two\nlines");
    assert_eq!((&event["error"], &event["field_level"]), (&"a\nb\u{1b}[31m\u{0}".into(), &"mine".into()));
    assert_eq!((&event["yes"], &event["float"], &event["nan"]), (&true.into(), &1.5.into(), &Value::Null));
    assert!(event["slot"].is_u64() && event["pid"].is_u64() && event.get("stream").is_none(), "{event}");
    let long = event["long"].as_str().unwrap();
    assert!(long.ends_with("x…") && long.len() < 4096, "{}", long.len());

    // The start and the end are there, too.
    assert!(told("started")["slot"].is_u64());
    assert_eq!(lines.iter().filter(|line| line["message"] == "the same again").count(), 10);
    assert_eq!(told("40 more like this suppressed: the same again")["suppressed"], 40);
}

#[test]
fn every_line_of_text_is_safe() {
    let (cluster, log, _folder) = start(Cluster::build(1));
    get(&cluster, "/garbage");
    get(&cluster, "/event");
    let text = eventually("all is there", || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("long=xx").then_some(text)
    });
    assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    assert!(!text.contains('\u{202e}'));
    let event = text.lines().find(|line| line.contains("two\\nlines")).unwrap();
    assert!(event.starts_with("[0.1] 2") && event.contains("ERROR log_app: two\\nlines error="), "{event}");
    assert!(text.lines().any(|line| line == "[0.1] \\u{1b}[2J\\u{1b}]0;title\\u{7}\\rback\\u{8}\\u{0}zero"), "{text}");
}

#[test]
fn a_worker_that_prints_in_a_loop_neither_fills_the_log_nor_starves_the_supervisor() {
    let (cluster, log, _folder) = start(Cluster::build(2));
    const LINES: u64 = 300_000;
    let server = cluster.address();
    let flood = std::thread::spawn(move || Connection::open(server).get(&format!("/flood/{LINES}")).status);
    let mut slowest = Duration::ZERO;
    while !flood.is_finished() {
        let begin = Instant::now();
        cluster.run(&["status"]);
        slowest = slowest.max(begin.elapsed());
    }
    assert_eq!(flood.join().unwrap(), 200);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let text = eventually("what was left out is told", || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("lines that it printed suppressed").then_some(text)
    });
    assert!(text.len() < 1_000_000, "{}", text.len());
    cluster.eventually("what was left out is counted", |status| {
        let count = status["supervisor"]["log_lines_suppressed"].as_u64()?;
        let text = fs::read_to_string(&log).unwrap();
        let written = text.lines().filter(|line| line.contains("a line of a flood")).count() as u64;
        assert!((1_000..6_000).contains(&written), "{written}");
        (written + count >= LINES).then_some(())
    });
    assert!(cluster.status()["workers"].as_array().unwrap().iter().all(|worker| worker["restarts"] == 0));
}

#[test]
fn a_closed_or_full_standard_error_holds_up_nobody() {
    // Nobody reads the pipe.
    let (_reader, writer) = std::io::pipe().unwrap();
    let cluster = Cluster::build(1).program("log_app").environment("ROOMD_LOG", "trace").log_to(writer).start();
    for _ in 0..20 {
        get(&cluster, "/flood/2000");
        get(&cluster, "/warn/100");
    }
    cluster.run(&["reload"]);
    get(&cluster, "/pid");
    drop(cluster);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let cluster = Cluster::build(1).program("log_app").log_to(writer).start();
    get(&cluster, "/flood/2000");
    cluster.run(&["reload"]);
    get(&cluster, "/pid");
}

fn details(log: &PathBuf, slot: usize) -> usize {
    let mark = format!("[{slot}.");
    let text = fs::read_to_string(log).unwrap();
    text.lines().filter(|line| line.starts_with(&mark) && line.contains("a detail answer=42")).count()
}

#[test]
fn the_filter_is_changed_at_run_time_and_goes_back_by_itself() {
    let (cluster, log, _folder) = start(Cluster::build(2).environment("ROOMD_LOG", "info"));
    // Requests go to any worker; four times as many as there are reach both.
    let debug = || (0..8).for_each(|_| get(&cluster, "/debug"));
    debug();
    assert_eq!(cluster.run(&["log"]), "info\n");
    cluster.run(&["log", "info,log_app=debug", "--worker", "1"]);
    eventually("slot 1 tells details", || {
        debug();
        (details(&log, 1) > 0).then_some(())
    });
    assert_eq!(details(&log, 0), 0);
    assert_eq!(cluster.run(&["log"]), "info\nslot 1: info,log_app=debug\n");

    let said = cluster.run(&["log", "debug", "--for", "3s"]);
    assert_eq!(said, "debug (for 3s more)\nconfigured: info\n");
    eventually("slot 0 tells details", || {
        debug();
        (details(&log, 0) > 0).then_some(())
    });
    // A worker that is started later has it, too.
    eventually("it is back", || (cluster.run(&["log"]) == "info\n").then_some(()));
    eventually("no details any more", || {
        let before = details(&log, 0) + details(&log, 1);
        debug();
        std::thread::sleep(Duration::from_millis(100));
        (details(&log, 0) + details(&log, 1) == before).then_some(())
    });

    cluster.run(&["log", "log_app=debug,info"]);
    cluster.run(&["reload"]);
    let before = details(&log, 0);
    eventually("a worker that was started later has it", || {
        debug();
        (details(&log, 0) > before).then_some(())
    });
    assert_eq!(cluster.run(&["log", "--reset"]), "info\n");
}

#[test]
fn a_wrong_filter_is_refused_with_the_place_of_the_fault() {
    let cluster = Cluster::start(1);
    for (arguments, words) in [
        (&["log", "info,roomd=debgu"][..], "`roomd=debgu` at character 6 has no level `debgu`, did you mean debug?"),
        (&["log", "inof"], "`inof` at character 1 is no level, did you mean info?"),
        (&["log", "info", "--for", "5"], "a duration with its unit"),
        (&["log", "--for", "5s"], "required"),
        (&["log", "info", "--worker", "x"], "give a slot's number"),
    ] {
        let output = cluster.command(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(words), "{arguments:?}: {error}");
    }
    let output = cluster.command(&["log", "info", "--worker", "7"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no slot 7"));
}

#[test]
fn a_reload_brings_the_files_log_into_force() {
    let (cluster, log, _folder) = start(Cluster::build(1).environment("ROOMD_LOG", ""));
    fs::write(cluster.folder().join("cluster.toml"), "[log]\nfilter = \"info,log_app=debug\"\nformat = \"json\"\n")
        .unwrap();
    cluster.run(&["reload"]);
    assert_eq!(cluster.run(&["log"]), "info,log_app=debug\n");
    get(&cluster, "/debug");
    eventually("it is in force", || {
        let text = fs::read_to_string(&log).unwrap();
        let json = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        json.into_iter().find(|line| line["message"] == "a detail" && line["answer"] == 42)
    });
}

/// The names of the fields of each `tracing` call in a source.
fn fields_of(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for call in source.split("tracing::").skip(1) {
        let Some((level, rest)) = call.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace", "$level"].contains(&level) {
            continue;
        }
        for argument in arguments(rest) {
            let name = argument.trim_start_matches(['%', '?']);
            let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c))).unwrap_or(name.len());
            if argument.starts_with('"') {
                break;
            }
            if !name[..end].is_empty() && !argument.starts_with("target:") {
                found.push(name[..end].to_owned());
            }
        }
    }
    found
}

/// The arguments of a call, up to its closing bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut depth, mut text_of) = (vec![String::new()], 0, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if text_of => drop(characters.next()),
            '"' => text_of = !text_of,
            '(' | '[' | '{' if !text_of => depth += 1,
            ')' | ']' | '}' if !text_of && depth == 0 => break,
            ')' | ']' | '}' if !text_of => depth -= 1,
            ',' if !text_of && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(character);
    }
    all.into_iter().map(|argument| argument.trim().to_owned()).collect()
}

#[test]
fn every_field_is_in_the_documents_and_no_other() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> =
        ["balancer", "supervisor", "wire", "worker"].map(|name| root.join(name).join("src")).into();
    let mut used = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                used.extend(fields_of(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(used.len() > 30, "{used:?}");
    let text = fs::read_to_string(root.join("docs/logs.md")).unwrap();
    let table = text.split_once("## Fields").unwrap().1.split_once("\n## ").unwrap().0;
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let told: std::collections::BTreeSet<String> =
        cells.flat_map(|(cell, _)| cell.split(',')).map(|name| name.trim().trim_matches('`').to_owned()).collect();
    let missing: Vec<_> = used.difference(&told).collect();
    assert!(missing.is_empty(), "in the program, but not in docs/logs.md: {missing:?}");
    // Added when a line is written.
    let made = ["stream", "spans"].map(String::from).into();
    let stale: Vec<_> =
        told.difference(&used).filter(|name| !std::collections::BTreeSet::contains(&made, *name)).collect();
    assert!(stale.is_empty(), "in docs/logs.md, but not in the program: {stale:?}");
}
