//! The table of the official API in `docs/api.md` is complete, and names for each row a test that there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use roomd_tests::Node;

/// The official declarations: the file, the class or interface, and the section of the table where its members are.
const DECLARED: &[(&str, &str, &str)] = &[
    ("socket.io/dist/index.d.ts", "Server", "Server"),
    ("socket.io/dist/index.d.ts", "ServerOptions", "Options"),
    ("engine.io/build/server.d.ts", "ServerOptions", "Options"),
    ("engine.io/build/server.d.ts", "AttachOptions", "Options"),
    ("socket.io/dist/namespace.d.ts", "ServerReservedEventsMap", "Server"),
    ("socket.io/dist/namespace.d.ts", "Namespace", "Namespace"),
    ("socket.io/dist/namespace.d.ts", "NamespaceReservedEventsMap", "Namespace"),
    ("socket.io/dist/namespace.d.ts", "ExtendedError", "Namespace"),
    ("socket.io/dist/parent-namespace.d.ts", "ParentNamespace", "Namespace"),
    ("socket.io/dist/socket.d.ts", "Socket", "Socket"),
    ("socket.io/dist/socket-types.d.ts", "SocketReservedEventsMap", "Socket"),
    ("socket.io/dist/socket-types.d.ts", "Handshake", "Handshake"),
    ("socket.io/dist/broadcast-operator.d.ts", "BroadcastOperator", "Broadcasts"),
    ("socket.io/dist/broadcast-operator.d.ts", "RemoteSocket", "Remote sockets"),
    ("socket.io-adapter/dist/in-memory-adapter.d.ts", "Adapter", "Adapter"),
    ("engine.io/build/server.d.ts", "BaseServer", "Engine"),
    ("engine.io/build/server.d.ts", "Server", "Engine"),
];

/// A row: what is official, what is ours, and what shows it.
struct Row {
    official: String,
    shown: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of each section.
fn table() -> BTreeMap<String, Vec<Row>> {
    let text = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let (mut sections, mut section) = (BTreeMap::<String, Vec<Row>>::new(), String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name.to_owned();
        }
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if cells[0].starts_with("---") || cells[0] == "Node" {
            continue;
        }
        assert_eq!(cells.len(), 3, "three cells are wanted: {line}");
        let row = Row { official: cells[0].to_owned(), shown: cells[2].to_owned() };
        sections.entry(section.clone()).or_default().push(row);
    }
    sections
}

/// The public members of a class or interface in a declaration file.
fn members(file: &str, class: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Node::folder().join("node_modules").join(file)).unwrap();
    let is_head = |line: &str| {
        let words: Vec<_> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        words.windows(2).any(|pair| matches!(pair[0], "class" | "interface") && pair[1] == class)
    };
    let body = text.lines().skip_while(|line| !is_head(line) || line.starts_with(' ')).skip(1);
    let lines = body.take_while(|line| !line.starts_with('}')).filter_map(|line| line.strip_prefix("    "));
    let mut members = BTreeSet::new();
    for line in lines {
        let line =
            ["readonly ", "get ", "set ", "static "].iter().fold(line, |line, word| line.trim_start_matches(word));
        let end = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let is_member = rest.starts_with(['(', ':', '<']) || rest.starts_with("?:");
        let is_private = name.starts_with('_') || ["constructor", "private", "protected", ""].contains(&name);
        if is_member && !is_private {
            members.insert(name.to_owned());
        }
    }
    assert!(!members.is_empty(), "{class} in {file}");
    members
}

/// Whether code in backticks of a cell has this word.
fn names(cell: &str, word: &str) -> bool {
    let code = cell.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_')).any(|named| named == word)
}

/// The names of all functions in test code, and the parts of the official API that tests in JavaScript and Python name.
fn tests() -> BTreeSet<String> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                let functions = text.lines().filter_map(|line| line.trim_start().split_once("fn ")?.1.split_once('('));
                found.extend(functions.map(|(name, _)| name.to_owned()));
            }
        }
    }
    found
}

#[test]
fn the_table_names_every_member_of_the_official_api() {
    let table = table();
    let mut missing = Vec::new();
    for (file, class, section) in DECLARED {
        let rows = table.get(*section).unwrap_or_else(|| panic!("there is no section {section}"));
        for member in members(file, class) {
            if !rows.iter().any(|row| names(&row.official, &member)) {
                missing.push(format!("{section}: {member} of {class}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn each_row_of_the_table_names_a_test_or_why_it_is_left_out() {
    let (tests, mut wrong) = (tests(), Vec::new());
    for (section, rows) in table() {
        for Row { official, shown } in rows {
            let reason = shown.strip_prefix("left out: ");
            let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
            if reason.is_none() && (named.is_empty() || !named.iter().all(|name| tests.contains(*name))) {
                wrong.push(format!("{section}: {official}: {shown}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such test, and no reason: {wrong:#?}");
}
