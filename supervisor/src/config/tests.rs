//! Configuration from end to end: text, environment and flags in, configuration or problems out.

use std::path::Path;

use roomd_balancer::ListenAddress;
use roomd_wire::{BusConfig, CorsConfig};

use crate::application::AppShape;

use super::{
    Config, Environment, Flags, OrOff, Sources, Workers,
    file::{Admin, Cluster, File, SocketIo},
    http_options::HttpOptions,
    log::Log,
};

mod application;
mod log;
mod options;
mod token;

/// A folder with a `cluster.toml`.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cluster.toml"), text).unwrap();
    folder
}

fn sources(folder: &Path, environment: &[(&str, &str)]) -> Sources {
    let environment = environment.iter().copied().collect();
    Sources { environment, folder: folder.into(), ..Sources::default() }
}

fn load(text: &str) -> Config {
    sources(folder(text).path(), &[]).load().unwrap()
}

/// What `roomd check` prints for a text.
fn problems(text: &str) -> String {
    sources(folder(text).path(), &[]).load().unwrap_err().to_string()
}

const SHIPPED: &str = include_str!("../../../cluster.toml");

#[test]
fn the_shipped_file_says_the_built_in_defaults_except_for_cors_origins() {
    let mut shipped = load(SHIPPED);
    assert_eq!(shipped.socketio.cors.take(), Some(CorsConfig::default()));
    let defaults = Config::with_defaults(shipped.control.clone(), Workers::Auto.count());
    assert_eq!(shipped, defaults);
}

#[test]
fn no_file_at_all_means_the_built_in_defaults() {
    let empty = tempfile::tempdir().unwrap();
    let config = sources(empty.path(), &[]).load().unwrap();
    assert_eq!(config, Config::with_defaults(config.control.clone(), Workers::Auto.count()));
    assert_eq!(config.listen[0].to_string(), "127.0.0.1:3000");
}

#[test]
fn the_shipped_file_has_every_key_there_is() {
    let everything: String = SHIPPED
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with('[') || key.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
                key
            }
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut problems = Vec::new();
    let file = File::parse(&everything, AppShape::default(), &mut problems);
    assert_eq!(problems, []);
    // No `..` in the patterns: a new key does not compile before it is asked for here, and so written there.
    let File { cluster, admin, log, redis_url: Some(_), socketio, app: _ } = file else {
        panic!("[redis] lacks a key")
    };
    let Admin { listen: Some(_), token: Some(_), token_file: Some(_) } = admin else { panic!("[admin] lacks a key") };
    let Log { format: Some(_), filter: Some(_), lines_per_cause: Some(_), lines_per_worker: Some(_) } = log else {
        panic!("[log] lacks a key")
    };
    let Cluster {
        workers: Some(_),
        listen: Some(_),
        control: Some(_),
        grace: Some(_),
        start_timeout: Some(_),
        confirm_time: Some(_),
        max_rss: Some(_),
        hang_timeout: Some(_),
        orphan_timeout: Some(_),
        head_timeout: Some(_),
        worker_wait: Some(_),
        max_connections: Some(_),
        max_connections_per_address: Some(_),
        trusted_proxies: Some(_),
        host: Some(_),
    } = cluster
    else {
        panic!("[cluster] lacks a key")
    };
    let SocketIo {
        path: Some(_),
        ping_interval: Some(_),
        ping_timeout: Some(_),
        upgrade_timeout: Some(_),
        connect_timeout: Some(_),
        max_payload: Some(_),
        max_queue: Some(_),
        cors_origins: Some(_),
        cors: Some(_),
        parser: Some(_),
        http:
            HttpOptions {
                add_trailing_slash: Some(_),
                transports: Some(_),
                allow_upgrades: Some(_),
                cookie: Some(_),
                http_compression: Some(_),
            },
        per_message_deflate: Some(_),
        client_files: Some(_),
        cleanup_empty_child_namespaces: Some(_),
    } = socketio
    else {
        panic!("[socketio] lacks a key")
    };
}

#[test]
fn every_problem_is_found_and_shown_with_its_place_and_the_way_out() {
    let shown = problems(
        r#"
[cluster]
worker = 4
grace = 30
listen = ["127.0.0.1:3000", "example.com"]
max_connections = 0

[admin]
listen = "127.0.0.1:3000"

[socketio]
ping_interval = "25"
cors_origins = "https://a.b/"

[cluser]
"#,
    );
    let expected = r#"cluster.toml:3:1: unknown key `worker` in [cluster]
 3 | worker = 4
   | ^^^^^^
   = did you mean `workers`?

cluster.toml:4:9: `grace` cannot be integer `30`
 4 | grace = 30
   |         ^^
   = give a duration with its unit, for example "30s", "250ms" or "1m30s"

cluster.toml:5:29: `listen` cannot be "example.com"
 5 | listen = ["127.0.0.1:3000", "example.com"]
   |                             ^^^^^^^^^^^^^
   = give an address and a port such as "127.0.0.1:3000" or "[::]:3000", ":3000" for all addresses, or "unix:/run/roomd.sock"

cluster.toml:6:19: `max_connections` cannot be 0
 6 | max_connections = 0
   |                   ^
   = give a number from 1 to 10000000

cluster.toml:9:10: the admin endpoints' 127.0.0.1:3000 is in the place of the clients' 127.0.0.1:3000
 9 | listen = "127.0.0.1:3000"
   |          ^^^^^^^^^^^^^^^^
 5 | listen = ["127.0.0.1:3000", "example.com"]
   |           ^^^^^^^^^^^^^^^^ the clients'
   = give one of them another port, or switch the admin endpoints off with `listen = "off"`

cluster.toml:12:17: `ping_interval` cannot be string "25"
 12 | ping_interval = "25"
    |                 ^^^^
   = give a duration with its unit, for example "30s", "250ms" or "1m30s"

cluster.toml:13:16: `cors_origins` cannot hold "https://a.b/"
 13 | cors_origins = "https://a.b/"
    |                ^^^^^^^^^^^^^^
   = browsers send an origin without a slash at its end: write "https://a.b"

cluster.toml:15:2: unknown table `cluser`
 15 | [cluser]
    |  ^^^^^^
   = did you mean `cluster`?
"#;
    assert_eq!(shown, expected);
}

#[test]
fn each_mistake_has_its_message() {
    let cases = [
        (
            "[cluster]\nworkers = 0",
            "2:11: `workers` cannot be integer `0`",
            "give a number from 1 to 1024, or \"auto\"",
        ),
        ("[cluster]\nworkers = \"4\"", "2:11: `workers` cannot be string \"4\"", "give a number"),
        ("[cluster]\nlisten = []", "2:10: `listen` is an empty list", "name an address"),
        ("[cluster]\nlisten = 3000", "2:10: `listen` cannot be integer `3000`", "a string, or a list of strings"),
        ("[cluster]\nlisten = [\":1\", \"[::1]:1\"]", "2:17: `listen` has [::]:1 and [::1]:1", "leave one out"),
        ("[cluster]\nhang_timeout = \"10ms\"", "2:16: `hang_timeout` cannot be 10ms", "give from 1s to 24h"),
        ("[cluster]\nhost = 65536", "2:8: `host` cannot be 65536", "from 0 to 65535"),
        ("[cluster]\nhost = \"a\"", "2:8: `host` cannot be string \"a\"", "= give a whole number"),
        ("[cluster]\nhost = 1979-05-27", "2:8: `host` cannot be a table or a date", "= give a whole number"),
        ("[cluster]\nhost = [1]", "2:8: `host` cannot be a list\n", "= give a whole number"),
        (
            "[cluster]\nmax_connections = 99999999999999999999",
            "2:19: `max_connections` cannot be 99999999999999999999\n",
            "= give a whole number",
        ),
        (
            "[cluster]\nmax_connections = 9999999999999999999",
            "cannot be 9999999999999999999\n",
            "= give a whole number",
        ),
        ("[socketio]\nclient_files = \"none\"", "2:16: `client_files`: ", "`client-dist` of the npm package"),
        ("[socketio]\nclient_files = \".\"", "has no socket.io.min.js", "`client-dist`"),
        ("[socketio]\nclient_files = true", "2:16: `client_files` cannot be boolean `true`", "give a string"),
        ("[cluster]\ntrusted_proxies = [\"10.0.0.1/33\"]", "2:20: `trusted_proxies` cannot hold", "\"10.0.0.0/8\""),
        (
            "[cluster]\nmax_connections = 10\nmax_connections_per_address = 11",
            "3:31: `max_connections_per_address` (11) is more than `max_connections` (10)",
            "2 | max_connections = 10",
        ),
        ("[socketio]\npath = \"chat\"", "2:8: `path` cannot be \"chat\"", "\"/socket.io/\""),
        ("[socketio]\npath = \"/\"", "2:8: `path` cannot be \"/\"", "demo chat's page"),
        (
            "[socketio]\nmax_payload = \"1TB\"",
            "2:15: `max_payload` cannot be string \"1TB\"",
            "give a size with its unit",
        ),
        ("[socketio]\nmax_payload = \"1GB\"", "2:15: `max_payload` cannot be 1GB", "from 100B to 256MiB"),
        (
            "[socketio]\nmax_queue = \"64KiB\"",
            "2:13: `max_queue` (64KiB) is smaller than `max_payload` (1MB)",
            "raise `max_queue`",
        ),
        ("[socketio]\ncors_origins = [1]", "2:17: `cors_origins` cannot be integer `1`", "a string"),
        (
            "[socketio]\ncors = { origin = [\"https://a.b\", \"/(/\"] }",
            "2:35: `origin` cannot hold \"/(/\"",
            "unclosed group",
        ),
        ("[socketio]\ncors = { origins = \"*\" }", "2:10: `cors`", "unknown field `origins`"),
        ("[socketio]\ncors = { origin = 1 }", "2:19: `cors` cannot be integer `1`", "= give an origin, a list"),
        ("[socketio]\ncors = { credentials = true }", "2:24: `credentials` has no effect", "`origin = true`"),
        ("[socketio]\ncors = { methods = [\"GET \\n\"] }", "2:21: `methods` cannot hold", "such as \"GET\""),
        ("[socketio]\ncors = { options_success_status = 404 }", "2:35: `options_success_status`", "200 to 299"),
        ("[socketio]\ncors = true\ncors_origins = \"*\"", "3:16: [socketio] has both", "2 | cors = true"),
        ("[socketio]\nparser = \"protobuf\"", "2:10: `parser` cannot be \"protobuf\"", "\"msgpack\""),
        ("[socketio]\ntransports = []", "2:14: `transports` is an empty list", "\"polling\""),
        ("[socketio]\ntransports = [\"polling\", \"webtransport\"]", "2:26: `transports` cannot hold", "\"websocket\""),
        ("[socketio]\nallow_upgrades = 1", "2:18: `allow_upgrades`", "boolean"),
        ("[socketio]\nhttp_compression = 1", "2:20: `http_compression` cannot be integer `1`", "= give true"),
        ("[socketio]\ncookie = 1", "2:10: `cookie` cannot be integer `1`", "= give true, a name"),
        ("[socketio]\ncookie = \"a b\"", "2:10: `name` of `cookie` cannot be \"a b\"", "letters, digits"),
        ("[socketio]\ncookie = { names = \"io\" }", "2:12: `cookie`", "unknown field `names`"),
        ("[socketio]\ncookie = { max_age = 1 }", "2:22: `cookie` cannot be integer `1`", "= give a duration"),
        (
            "[socketio]\ncookie = { same_site = \"none\" }",
            "`same_site` of `cookie` cannot be \"none\"",
            "`secure = true`",
        ),
        ("[socketio]\n[socketio.cookie]\ndomain = \"a;b\"", "2:1: `domain` of `cookie`", "such as \"example.com\""),
        ("[socketio]\ncookie = { path = \"/<\" }", "`path` of `cookie` cannot be \"/<\"", "without `;` and `<`"),
        (
            "[socketio]\nper_message_deflate = 1",
            "2:23: `per_message_deflate` cannot be integer `1`",
            "give true, false, or",
        ),
        (
            "[socketio]\nper_message_deflate = { levl = 6 }",
            "2:25: `per_message_deflate` has the unknown field `levl`",
            "give `threshold` or `level`",
        ),
        (
            "[socketio]\nper_message_deflate = { threshold = 1024 }",
            "2:37: `per_message_deflate` cannot be integer `1024`",
            "give a size with its unit",
        ),
        ("[socketio.per_message_deflate]\nlevel = 10", "2:9: `level` cannot be 10", "from 1 to 9"),
        ("[socketio.per_message_deflate]\nthreshold = \"2GB\"", "`threshold` cannot be 2GB", "from 0B to 1GiB"),
        (
            "[socketio]\npingTimeout = \"1s\"",
            "2:1: unknown key `pingTimeout` in [socketio]",
            "did you mean `ping_timeout`?",
        ),
        ("cluster = 1", "1:11: `cluster` is no table", "write `[cluster]`"),
        (
            "[redis]\nurl = \"http://h\"",
            "2:7: `url` of [redis] is no URL of a Redis: `http` is no scheme",
            "give a URL such as",
        ),
        ("[redis]\n", "1:2: [redis] has no `url`", "url = "),
        ("[cluster]\ngrace = ", "2:9: no valid TOML", "grace = "),
        ("[cluster]\ngrace = \"1s\"\ngrace = \"2s\"", "3:1: no valid TOML: duplicate key", "grace"),
    ];
    for (text, message, way_out) in cases {
        let shown = problems(text);
        assert!(shown.contains(message) && shown.contains(way_out), "{text}\ngave\n{shown}");
    }
}

#[test]
fn a_password_is_never_shown() {
    for text in [
        "[redis]\nurl = \"http://user:secret@host\"",
        "[redis]\nurl = \"secret\"",
        "[redis]\nurl = \"redis://:secret\"",
        "[redis]\nurl = \"redis://user:secret@host:6379\" x",
        "[redis]\nurl = \"redis://user:secret@host:6379",
        "[redis]\nurl = [\"redis://user:secret@host:6379\"]",
        "redis = { url = \"redis://user:secret@host:6379\", other = 1 }",
        "[redis]\nurl = \"unix:///x?pass=secret\" x",
    ] {
        let shown = problems(text);
        assert!(!shown.contains("secret"), "{text}\ngave\n{shown}");
    }
    let shown = sources(folder("").path(), &[("REDIS_URL", "http://user:secret@host")]).load().unwrap_err().to_string();
    assert!(!shown.contains("secret") && shown.contains("REDIS_URL"), "{shown}");
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let text = "[cluster]\nlisten = \"127.0.0.1:1\"\nworkers = 1\ncontrol = \"file.sock\"\n[admin]\nlisten = \"127.0.0.1:11\"\n\
                [redis]\nurl = \"redis://file\"";
    let folder = folder(text);
    let here = folder.path();
    let seen = |sources: &Sources| {
        let config = sources.load().unwrap();
        let listen: Vec<_> = config.listen.iter().map(ListenAddress::to_string).collect();
        let BusConfig::Redis { url } = config.bus else { panic!("no Redis") };
        let control = config.control.strip_prefix(here).unwrap().display().to_string();
        (listen.join(" "), config.workers, control, config.admin.unwrap().port(), url)
    };
    let expect = |listen: &str, workers, control: &str, admin, url: &str| {
        (listen.into(), workers, control.into(), admin, url.into())
    };

    let mut sources = sources(here, &[]);
    assert_eq!(seen(&sources), expect("127.0.0.1:1", 1, "file.sock", 11, "redis://file"));

    let mut environment = vec![("PORT", "22"), ("REDIS_HOST", "example"), ("REDIS_PORT", "7000")];
    sources.environment = environment.iter().copied().collect();
    assert_eq!(seen(&sources), expect("[::]:22", 1, "file.sock", 11, "redis://example:7000"));

    environment.extend([
        ("ROOMD_LISTEN", "127.0.0.1:2, 127.0.0.1:3"),
        ("ROOMD_WORKERS", "2"),
        ("ROOMD_CONTROL", "environment.sock"),
        ("ROOMD_ADMIN", "127.0.0.1:12"),
        ("REDIS_URL", "redis://environment"),
    ]);
    sources.environment = environment.iter().copied().collect();
    assert_eq!(seen(&sources), expect("127.0.0.1:2 127.0.0.1:3", 2, "environment.sock", 12, "redis://environment"));

    sources.flags = Flags {
        config: None,
        listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 4).into())],
        workers: Some(Workers::Count(3)),
        redis: Some(OrOff::On("redis://flag".into())),
        admin: Some("127.0.0.1:13".parse().unwrap()),
        control: Some("flag.sock".into()),
    };
    assert_eq!(seen(&sources), expect("127.0.0.1:4", 3, "flag.sock", 13, "redis://flag"));
}

#[test]
fn off_switches_off_what_the_file_has() {
    let folder = folder("[redis]\nurl = \"redis://file\"");
    let config = sources(folder.path(), &[("REDIS_URL", "off"), ("ROOMD_ADMIN", "off")]).load().unwrap();
    assert_eq!((config.bus, config.admin), (BusConfig::Embedded, None));
}

#[test]
fn the_environment_says_which_host_this_is_before_the_file_does() {
    let folder = folder("[cluster]\nhost = 1");
    for (variables, host) in [(&[("ROOMD_HOST", "65535")][..], 65_535), (&[], 1)] {
        assert_eq!(sources(folder.path(), variables).load().unwrap().host, host);
    }
}

#[test]
fn empty_variables_count_as_not_set() {
    let folder = folder("");
    let config = sources(folder.path(), &[("ROOMD_LISTEN", ""), ("PORT", ""), ("REDIS_URL", ""), ("REDIS_HOST", "")])
        .load()
        .unwrap();
    assert_eq!((config.listen[0].to_string().as_str(), config.bus), ("127.0.0.1:3000", BusConfig::Embedded));
}

#[test]
fn mistakes_in_the_environment_are_told_by_their_variable() {
    let folder = folder("");
    for (name, value) in [
        ("ROOMD_LISTEN", "x"),
        ("PORT", "http"),
        ("ROOMD_WORKERS", "0"),
        ("ROOMD_ADMIN", "x"),
        ("REDIS_PORT", "x"),
        ("ROOMD_HOST", "roomd-0"),
        ("ROOMD_HOST", "65536"),
    ] {
        let shown = sources(folder.path(), &[(name, value)]).load().unwrap_err().to_string();
        assert!(shown.contains(&format!("the environment's {name}")), "{name}: {shown}");
    }
}

#[test]
fn a_named_file_that_is_not_there_is_a_problem_and_its_paths_start_from_its_folder() {
    let here = tempfile::tempdir().unwrap();
    let mut sources = sources(here.path(), &[]);
    sources.flags.config = Some("conf/my.toml".into());
    let error = sources.load().unwrap_err().to_string();
    assert!(error.contains("cannot read conf/my.toml") && error.contains("--config"), "{error}");

    std::fs::create_dir(here.path().join("conf")).unwrap();
    std::fs::create_dir(here.path().join("conf/client")).unwrap();
    std::fs::write(here.path().join("conf/client/socket.io.min.js"), "/* Socket.IO v4.8.4 */").unwrap();
    std::fs::write(
        here.path().join("conf/my.toml"),
        "[socketio]\nclient_files = \"client\"\n[cluster]\nlisten = \"unix:a.sock\"",
    )
    .unwrap();
    let config = sources.load().unwrap();
    assert_eq!(config.socketio.client_files, Some(here.path().join("conf/client")));
    assert_eq!(config.listen, [ListenAddress::Unix(here.path().join("conf/a.sock"))]);
}

/// A reload reads the file on the thread that accepts and supervises.
#[test]
fn a_pipe_is_refused_and_never_waited_for() {
    let here = tempfile::tempdir().unwrap();
    let pipe = here.path().join("cluster.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = sources(here.path(), &[]).load().unwrap_err().to_string();
    assert!(error.contains("cannot read cluster.toml: it is a pipe"), "{error}");

    std::fs::rename(&pipe, here.path().join("socket.io.min.js")).unwrap();
    std::fs::write(&pipe, "[socketio]\nclient_files = \".\"").unwrap();
    let error = sources(here.path(), &[]).load().unwrap_err().to_string();
    assert!(error.contains("socket.io.min.js is no file"), "{error}");
}

#[test]
fn a_file_of_the_default_name_that_cannot_be_read_is_not_passed_over() {
    let here = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere.toml", here.path().join("cluster.toml")).unwrap();
    let error = sources(here.path(), &[]).load().unwrap_err().to_string();
    assert!(error.contains("cannot read cluster.toml: No such file"), "{error}");
}

#[test]
fn a_reload_does_not_take_the_defaults_for_a_file_that_has_gone() {
    let here = folder("");
    let named = sources(here.path(), &[]).with_the_file_named();
    named.load().unwrap();
    std::fs::remove_file(here.path().join("cluster.toml")).unwrap();
    assert!(named.load().unwrap_err().to_string().contains("cannot read cluster.toml"));
    // Started without one, a reload takes one that has come.
    let none = sources(here.path(), &[]).with_the_file_named();
    std::fs::write(here.path().join("cluster.toml"), "[cluster]\nhost = 7").unwrap();
    assert_eq!(none.load().unwrap().host, 7);
}

#[test]
fn commands_look_for_the_control_socket_where_up_puts_it() {
    let folder = folder("[cluster]\ncontrol = \"run/c.sock\"");
    let mut sources = sources(folder.path(), &[("XDG_RUNTIME_DIR", "/run/user/1")]);
    assert_eq!(sources.control_path(), folder.path().join("run/c.sock"));
    assert_eq!(sources.control_path(), sources.load().unwrap().control);

    std::fs::write(folder.path().join("cluster.toml"), "[cluster]\ncontrol = \"run/c.sock\"\ngrace = 3").unwrap();
    assert_eq!(sources.control_path(), folder.path().join("run/c.sock"), "other problems do not matter");

    std::fs::remove_file(folder.path().join("cluster.toml")).unwrap();
    assert_eq!(sources.control_path(), Path::new("/run/user/1/roomd.sock"));
    sources.environment = [("ROOMD_CONTROL", "e.sock")].into_iter().collect();
    assert_eq!(sources.control_path(), folder.path().join("e.sock"));
    sources.flags.control = Some("/f.sock".into());
    assert_eq!(sources.control_path(), Path::new("/f.sock"));
}

#[test]
fn check_looks_at_the_file_alone() {
    let folder = folder("[cluster]\nlisten = \"nowhere\"");
    let sources = sources(folder.path(), &[("ROOMD_LISTEN", "127.0.0.1:0"), ("ROOMD_WORKERS", "none")]);
    let shown = sources.check().unwrap_err().to_string();
    assert!(shown.contains("nowhere") && !shown.contains("ROOMD_WORKERS"), "{shown}");
}

#[test]
fn what_a_reload_cannot_change_is_named_with_its_place() {
    let all = "[cluster]\nworkers = 999\nlisten = \":1\"\ncontrol = \"c\"\ngrace = \"1s\"\nstart_timeout = \"2s\"\n\
         hang_timeout = \"3s\"\nhead_timeout = \"4s\"\nworker_wait = \"5s\"\nmax_connections = 6\n\
         max_connections_per_address = 5\ntrusted_proxies = \"::1\"\nconfirm_time = \"1s\"\nmax_rss = \"1GiB\"\nhost = 7\n\
         [admin]\nlisten = \"off\"\ntoken = \"0123456789abcdef\"\n[redis]\nurl = \"redis://h\"\n\
         [socketio]\nping_interval = \"1s\"\n[app]\na = 1";
    let running = load("");
    let folder = folder(all);
    let sources = sources(folder.path(), &[]);
    let named = sources.needs_restart(&sources.load().unwrap(), &running).unwrap();
    assert_eq!(
        named,
        "[cluster] listen (cluster.toml:3:10), [cluster] control (cluster.toml:4:11), [cluster] host (cluster.toml:15:8), \
         [admin] listen (cluster.toml:17:10), [redis] url (cluster.toml:20:7)"
    );
    let listening = load("[cluster]\nlisten = \":1\"");
    let named = sources.needs_restart(&running, &listening).unwrap();
    assert_eq!(named, "[cluster] listen (cluster.toml:3:10)");
    std::fs::write(folder.path().join("cluster.toml"), "").unwrap();
    let named = sources.needs_restart(&running, &listening).unwrap();
    assert_eq!(named, "[cluster] listen (no longer in cluster.toml)");
    assert_eq!(sources.needs_restart(&running, &running), None);
}

#[test]
fn a_limit_of_memory_that_every_worker_passes_is_refused() {
    assert_eq!(load("[cluster]\nmax_rss = \"512MiB\"").max_rss, Some(512 << 20));
    assert_eq!(load("[cluster]\nmax_rss = \"off\"").max_rss, None);
    let folder = folder("[cluster]\nmax_rss = \"1MiB\"");
    let shown = sources(folder.path(), &[]).load().unwrap_err().to_string();
    assert!(shown.contains("`max_rss` is 1MiB") && shown.contains("32MiB"), "{shown}");
}

#[test]
fn a_worker_is_told_what_it_needs() {
    let config = load(
        "[cluster]\nhost = 7\ntrusted_proxies = \"10.0.0.0/8\"\n[socketio]\npath = \"/chat\"\nping_timeout = \"1.5s\"",
    );
    let id = roomd_wire::WorkerId { slot: roomd_wire::Slot(1), generation: roomd_wire::Generation(2) };
    let told = config.for_worker(id, 4);
    assert_eq!((told.host, told.workers, told.id), (7, 4, id));
    assert_eq!((told.socketio.path.as_str(), told.socketio.ping_timeout_ms), ("/chat/", 1500));
    assert_eq!(told.trusted_proxies, ["10.0.0.0/8"]);
    assert_eq!(told.bus_wait_ms, 2_000);
    // One that waits for Redis must not be given up meanwhile.
    assert_eq!(load("[cluster]\nstart_timeout = \"1s\"").for_worker(id, 4).bus_wait_ms, 500);
}

#[test]
fn random_texts_never_panic() {
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..2000 {
        let mut text: Vec<char> = SHIPPED.chars().collect();
        for _ in 0..rng.usize(1..8) {
            let at = rng.usize(0..text.len());
            match rng.u8(0..3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, rng.choice(['"', '[', '=', '\n', 'é', '9']).unwrap_or('x')),
                _ => text.truncate(at.max(10)),
            }
        }
        let text: String = text.into_iter().collect();
        let mut problems = Vec::new();
        File::parse(&text, AppShape::default(), &mut problems);
        let shown = super::Problems::new("f".into(), text, problems).to_string();
        assert!(shown.len() < 100_000, "round {round}");
    }
}

#[test]
fn an_environment_of_this_process_can_be_taken() {
    assert!(Environment::of_process().get("PATH").is_some());
}
