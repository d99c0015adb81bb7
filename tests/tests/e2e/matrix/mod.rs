//! Every call of the whole cluster, from each kind of server to each kind, with two Node servers as the oracle.
//!
//! A [`Stage`] is two servers, A and B, with two clients of each; A is told to call, and what the clients got and were, what B
//! heard and what A was answered is recorded. Each row of [`rows`] is played on every stage, in two namespaces, and the record is
//! compared with that of two official servers. What may differ is in [`allowed`], each with its reason.

mod allowed;
mod payloads;
mod rows;
mod stage;

use std::sync::OnceLock;

use rows::{Row, rows};
use stage::{Kind, Stage};

const NAMESPACES: [&str; 2] = ["/", "/admin"];

/// What was recorded in each row, whose name is with its namespace.
type Record = Vec<(String, Vec<String>)>;

fn play(mut stage: Stage, rows: &[Row]) -> Record {
    let mut record = Record::new();
    for namespace in NAMESPACES {
        stage.enter(namespace);
        for (name, play) in rows {
            // Shown if it fails to end.
            println!("{namespace} {name}");
            play(&mut stage);
            record.push((format!("{namespace} {name}"), stage.end_row()));
        }
    }
    stage.close();
    record
}

fn oracle() -> &'static Record {
    static ORACLE: OnceLock<Record> = OnceLock::new();
    ORACLE.get_or_init(|| play(Stage::start(Kind::Node, Kind::Node), &rows()))
}

/// Plays all rows, and shows where the record differs from the oracle's.
fn compare(name: &str, stage: Stage) {
    let rows: Vec<_> = rows().into_iter().filter(|(row, _)| stage.can_play(row)).collect();
    let mut report = String::new();
    let (oracle, record) = (oracle(), play(stage, &rows));
    assert_eq!(record.len(), NAMESPACES.len() * rows.len());
    for (row, actual) in &record {
        let (_, expected) = oracle.iter().find(|(played, _)| played == row).unwrap();
        match (allowed::reason(name, row), expected == actual) {
            (None, false) => report += &format!("\n{row}\n{}", difference(expected, actual)),
            (Some(reason), true) => {
                report += &format!("\n{row}\n  no longer differs: take it from the list ({reason})\n")
            }
            _ => {}
        }
    }
    assert!(report.is_empty(), "- is what two official servers do, + {name}:\n{report}");
}

/// The lines that only one has; all, if they differ in how often or in which order they have them.
fn difference(expected: &[String], actual: &[String]) -> String {
    let lines = |sign: &str, of: &[String], others: &[String]| -> String {
        of.iter().filter(|line| !others.contains(line)).map(|line| format!("  {sign} {line}\n")).collect()
    };
    let only = lines("-", expected, actual) + &lines("+", actual, expected);
    if only.is_empty() { lines("-", expected, &[]) + &lines("+", actual, &[]) } else { only }
}

#[test]
fn ours_asks_ours_and_node() {
    compare("ours + node", Stage::start(Kind::Ours, Kind::Node));
}

#[test]
fn node_asks_node_and_ours() {
    compare("node + ours", Stage::start(Kind::Node, Kind::Ours));
}

#[test]
fn ours_asks_ours_over_redis() {
    compare("ours + ours", Stage::start(Kind::Ours, Kind::Ours));
}

#[test]
fn ours_asks_ours_over_the_embedded_bus() {
    compare("embedded", Stage::embedded());
}
