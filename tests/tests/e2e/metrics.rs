//! What Prometheus finds: its own tool is content with the format and the rules, and a real server that scrapes a real cluster sees
//! no counter fall, whatever happens to the workers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use roomd_tests::{Cluster, Node, RedisServer, eventually, eventually_within, http::Connection};
use serde_json::{Value, json};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// Runs `promtool`, which has to be content; what it wrote.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .current_dir(packaging().join("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need promtool (Debian: apt install prometheus)");
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
    text
}

fn scrape(cluster: &Cluster) -> String {
    let answer = Connection::open(cluster.admin()).get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The value of one sample, named as it is written.
fn value(metrics: &str, sample: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{sample} is not in\n{metrics}")).parse().unwrap()
}

/// A metric as the documentation has it.
#[derive(PartialEq, Eq, Debug)]
struct Described {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

fn documented() -> BTreeMap<String, Described> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Some((name.to_owned(), Described { kind: kind.into(), labels, help: help.into() }))
    };
    text.lines().filter_map(row).collect()
}

/// All that a scrape has.
fn scraped(metrics: &str) -> BTreeMap<String, Described> {
    let mut found: BTreeMap<String, Described> = BTreeMap::new();
    let mut help = String::new();
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap().1.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let described = Described { kind: kind.into(), labels: BTreeSet::new(), help: help.clone() };
            assert!(found.insert(name.into(), described).is_none(), "{name} twice");
        } else {
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = if found.contains_key(name) { name } else { base.unwrap() };
            let labels = rest.split(['{', ',']).filter_map(|part| Some(part.split_once("=\"")?.0.to_owned()));
            let labels = labels.filter(|label| label != "le");
            found.get_mut(name).unwrap().labels.extend(labels);
        }
    }
    found
}

/// What the documentation says of metrics that are not everywhere.
const NOT_EVERYWHERE: &str = " (Newer Redis only.)";

#[test]
fn promtool_is_content_and_the_documentation_is_complete() {
    let redis = RedisServer::start(&["--maxmemory 100mb"]);
    let cluster = Cluster::build(2).redis(&redis.url()).start();
    let metrics = eventually("all figures are known", || {
        let metrics = scrape(&cluster);
        let known = ["roomd_redis_publishes_total ", "roomd_bus_latency_seconds ", "roomd_worker_bus_up{worker=\"1\"}"];
        // Redis knows of no PUBLISH before the first one.
        known.iter().all(|known| metrics.contains(known)).then_some(metrics)
    });
    assert_eq!(promtool(&["check", "metrics"], &metrics), "");
    let (mut documented, scraped) = (documented(), scraped(&metrics));
    documented.retain(|name, described| {
        let optional = described.help.ends_with(NOT_EVERYWHERE);
        described.help = described.help.trim_end_matches(NOT_EVERYWHERE).to_owned();
        !optional || scraped.contains_key(name)
    });
    for (name, described) in &scraped {
        assert_eq!(Some(described), documented.get(name), "{name}");
    }
    for name in documented.keys() {
        assert!(scraped.contains_key(name), "{name} is documented, but there is none");
    }
    // Each process has asked Redis for itself.
    assert!(value(&metrics, "roomd_redis_memory_used_bytes") > 100_000.0);
    assert_eq!(value(&metrics, "roomd_redis_memory_max_bytes"), 100.0 * 1024.0 * 1024.0);
}

#[test]
fn the_alert_rules_are_right() {
    assert!(promtool(&["check", "rules", "roomd.rules.yml"], "").contains("17 rules found"));
    assert!(promtool(&["check", "config", "prometheus.yml"], "").contains("SUCCESS"));
    promtool(&["test", "rules", "roomd.rules.test.yml"], "");
    // Each rule has a test that wants to see it fire.
    let [rules, tests] = ["roomd.rules.yml", "roomd.rules.test.yml"]
        .map(|name| fs::read_to_string(packaging().join("prometheus").join(name)).unwrap());
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 17);
    for alert in alerts {
        let fires = [format!("alertname=\"{alert}\""), format!("alertname: {alert}\n")];
        assert!(fires.iter().any(|fires| tests.contains(fires)), "no test has {alert} fire");
    }
}

#[test]
fn a_redis_that_tells_nothing_of_itself_serves_all_the_same() {
    let redis = RedisServer::start(&[]);
    assert_eq!(redis.run("ACL SETUSER ann on >secret +@all -info ~* &*"), "+OK\r\n");
    let cluster = Cluster::build(1).redis(&format!("redis://ann:secret@127.0.0.1:{}", redis.port)).start();
    let told = |log: &str| log.matches("redis does not tell of itself").count();
    eventually("the log tells of it", || (told(&cluster.log()) > 0).then_some(()));
    let metrics = scrape(&cluster);
    assert!(!metrics.contains("roomd_redis_"), "{metrics}");
    assert_eq!(value(&metrics, "roomd_bus_up{kind=\"redis\"}"), 1.0);
    assert_eq!(told(&cluster.log()), 1);
}

#[test]
fn a_handler_that_blocks_is_seen_as_lag_and_a_busy_room_by_its_name() {
    let cluster = Cluster::build(1).program("test_app").start();
    let mut clients = Node::start("clients.mjs", &[]);
    for name in ["a", "b"] {
        clients.connect(name, &format!("{}/test", cluster.url()), json!({"transports": ["websocket"]}));
        clients.ask(json!({"do": "ask", "name": name, "event": "join", "args": ["busy"]}));
    }
    clients.emit("a", "block", json!([600]));
    let metrics = eventually("the lag is reported", || {
        let metrics = scrape(&cluster);
        let within = "roomd_worker_event_loop_lag_seconds_bucket{worker=\"0\",le=\"0.262144\"}";
        let all = value(&metrics, "roomd_worker_event_loop_lag_seconds_count{worker=\"0\"}");
        // The samples that were due in the first 300 ms of it.
        (all - value(&metrics, within) >= 3.0).then_some(metrics)
    });
    assert!(value(&metrics, "roomd_worker_event_loop_lag_seconds_sum{worker=\"0\"}") > 1.0, "{metrics}");
    cluster.eventually("it is in the status", |status| {
        (status["workers"][0]["lag"]["p99_ms"].as_f64()? > 200.0).then_some(())
    });
    assert_eq!(value(&metrics, "roomd_accept_to_ready_seconds_count"), 2.0);
    assert_eq!(value(&metrics, "roomd_handover_seconds_count"), 2.0);
    assert_eq!(value(&metrics, "roomd_worker_start_seconds_count"), 1.0);
    cluster.eventually("the room is the busiest", |status| {
        let order = json!({"namespace": "/test", "event": "news", "args": [], "to": ["busy"]}).to_string();
        let mut admin = Connection::open(cluster.admin());
        admin.send(format!(
            "POST /emit HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{order}",
            order.len()
        ));
        assert_eq!(admin.answer().unwrap().status, 202);
        let room = &status["busiest_rooms"][0];
        (room["room"] == "busy" && room["members"] == 2 && room["packets_per_s"].as_f64()? > 0.0).then_some(())
    });
    assert!(value(&scrape(&cluster), "roomd_fanout_seconds_count") > 0.0);
}

/// A Prometheus of the test's own; killed with the value.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes a cluster twice a second, with the rules of the package: but what they wait for, they wait for a second.
    fn start(cluster: &Cluster) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let rules = fs::read_to_string(packaging().join("prometheus/roomd.rules.yml")).unwrap();
        let patient = |line: &str| line.trim_start().starts_with("for: ");
        let hasty = |line: &str| if patient(line) { "        for: 1s\n".to_owned() } else { format!("{line}\n") };
        fs::write(folder.path().join("roomd.rules.yml"), rules.lines().map(hasty).collect::<String>()).unwrap();
        let config = fs::read_to_string(packaging().join("prometheus/prometheus.yml")).unwrap();
        let config =
            config.replace("interval: 15s", "interval: 500ms").replace("127.0.0.1:3900", &cluster.admin().to_string());
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("these tests need prometheus (Debian: apt install prometheus)");
        let prometheus = Prometheus { process, address, folder };
        eventually_within(Duration::from_secs(30), "prometheus is ready", || {
            std::net::TcpStream::connect(address).ok()?;
            (Connection::open(address).get("/-/ready").status == 200).then_some(())
        });
        prometheus
    }

    /// What its API answers, which is to be no error.
    fn ask(&self, path: &str) -> Value {
        let answer = Connection::open(self.address).get(path);
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["status"], "success", "{path}: {json}");
        json["data"].clone()
    }

    /// The samples of an expression.
    fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.ask(&format!("/api/v1/query?query={}", escaped(expression)));
        data["result"].as_array().unwrap().clone()
    }

    /// The one value of an expression; none without samples.
    fn number(&self, expression: &str) -> Option<f64> {
        self.query(expression).first()?["value"][1].as_str()?.parse().ok()
    }

    /// The names of all metrics that it has of the cluster.
    fn names(&self) -> BTreeSet<String> {
        let names = self.ask(&format!("/api/v1/label/__name__/values?match[]={}", escaped("{job=\"roomd\"}")));
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Every expression of the dashboard, as Grafana would ask it.
fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(packaging().join("grafana/roomd.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    let (mut ids, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels with one id: {}", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for field in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(fields.insert(field), "{} lies on another panel", panel["title"]);
        }
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(!targets.is_empty() || panel["type"] == "row", "{} shows nothing", panel["title"]);
        queries.extend(targets.iter().map(|target| target["expr"].clone()));
    }
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    queries.extend(annotations.filter_map(|annotation| annotation.get("expr").cloned()));
    let asked = |query: &Value| {
        let query = query.as_str().unwrap().replace("$__rate_interval", "1m").replace("$__interval", "1m");
        query.replace("$instance", ".*")
    };
    queries.iter().map(asked).collect()
}

/// Names of metrics in an expression.
fn named(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("roomd_") || word.starts_with("process_")).collect()
}

#[test]
fn prometheus_sees_no_counter_fall_through_reload_kill_and_scale() {
    let mut redis = RedisServer::start(&["--maxmemory 100mb"]);
    let cluster = Cluster::build(2).redis(&redis.url()).start();
    let prometheus = Prometheus::start(&cluster);
    let mut clients = Node::start("clients.mjs", &[]);
    let mut sent = 0;
    let mut load = |clients: &mut Node| {
        let names: Vec<String> = (0..6).map(|number| format!("client {sent} {number}")).collect();
        names.iter().for_each(|name| clients.connect(name, &cluster.url(), json!({"transports": ["websocket"]})));
        for text in 0..20 {
            clients.emit(&names[text % names.len()], "chatMessage", json!([format!("text {text}")]));
            sent += 1;
        }
        // Reported once a second; what a worker counted after its last report would die with it.
        let expression = "roomd_events_received_total";
        eventually_within(Duration::from_secs(30), "the events are counted", || {
            prometheus.number(expression).filter(|received| *received >= f64::from(sent))
        });
    };
    load(&mut clients);
    let before = prometheus.number("roomd_packets_sent_total").unwrap();
    cluster.run(&["reload"]);
    load(&mut clients);
    cluster.run(&["kill", "0"]);
    cluster.eventually("slot 0 has been restarted", |status| {
        let workers = status["workers"].as_array()?;
        let ready = workers.iter().filter(|worker| worker["state"] == "ready").count();
        (ready == 2 && workers.iter().any(|worker| worker["restarts"] == 1)).then_some(())
    });
    load(&mut clients);
    cluster.run(&["scale", "1"]);
    load(&mut clients);
    // What a worker counted since its last report is told when it ends by itself.
    clients.connect("last", &cluster.url(), json!({"transports": ["websocket"]}));
    (0..20).for_each(|text| clients.emit("last", "chatMessage", json!([format!("last {text}")])));
    sent += 20;
    let heard = json!({"do": "events", "name": "last", "event": "message"});
    clients.eventually("the last text is handled", &heard, |heard| heard.to_string().contains("last 19"));
    cluster.run(&["reload"]);
    eventually("all events are counted", || {
        prometheus.number("roomd_events_received_total").filter(|received| *received == f64::from(sent))
    });
    eventually("the restart is known", || prometheus.number("sum(roomd_worker_restarts_total) == 1"));
    assert!(prometheus.number("roomd_packets_sent_total").unwrap() > before);
    assert_eq!(prometheus.number("min_over_time(up{job=\"roomd\"}[10m])"), Some(1.0));
    assert_eq!(
        prometheus.number("roomd_worker_start_seconds_count"),
        Some(6.0),
        "two, three by reloads, one by the kill"
    );
    // The slot that is no more has still its figures.
    assert!(prometheus.number("roomd_worker_sessions_opened_total{worker=\"1\"}").is_some_and(|opened| opened > 0.0));

    let names = prometheus.names();
    let grows = |name: &&String| ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
    let counters: Vec<&String> = names.iter().filter(grows).collect();
    assert!(counters.len() > 80, "{counters:?}");
    for counter in counters {
        assert_eq!(prometheus.number(&format!("max(resets({counter}[10m]))")), Some(0.0), "{counter}");
    }
    let told = |query: &str, names: &BTreeSet<String>| {
        let known = |name: &&&str| names.contains(**name) || names.contains(&format!("{name}_count"));
        let unknown: Vec<_> = named(query).into_iter().filter(|name| !known(&name)).collect();
        assert!(unknown.is_empty(), "there is no {unknown:?}: {query}");
    };
    let mut empty = 0;
    for query in dashboard_queries() {
        told(&query, &names);
        // Some show only what is wrong.
        let result = prometheus.query(&query);
        assert!(!result.is_empty() || query.contains("> 0"), "nothing for {query}");
        empty += usize::from(result.is_empty());
    }
    assert!(empty <= 3, "{empty} queries without a result");
    for group in prometheus.ask("/api/v1/rules")["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule}");
            let query = rule["query"].as_str().unwrap();
            if !query.contains("output_buffer_disconnections") {
                told(query, &names);
            }
        }
    }

    let firing = |alert: &str| {
        let alerts = prometheus.ask("/api/v1/alerts");
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        alerts.any(|found| found["labels"]["alertname"] == alert && found["state"] == "firing")
    };
    assert!(!firing("RoomdBusDown") && !firing("RoomdDown") && !firing("RoomdNoReadyWorker"));
    redis.stop();
    eventually_within(Duration::from_secs(30), "the alert fires", || firing("RoomdBusDown").then_some(()));
    assert!(!scrape(&cluster).contains("roomd_redis_"), "what a Redis said that is away");
    redis.restart();
    eventually_within(Duration::from_secs(30), "the alert ends", || (!firing("RoomdBusDown")).then_some(()));
}
