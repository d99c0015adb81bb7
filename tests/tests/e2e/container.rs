//! What is in `packaging/docker` and `packaging/kubernetes`: the image's content runs as the first process of a container does, and
//! the manifests say what is true of roomd.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use roomd_tests::{
    Cluster, eventually, eventually_within,
    http::{Connection, HANDSHAKE},
    program,
};
use serde_json::Value;

/// The user of the image.
const USER: &str = "65532";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A tool of Python's packages.
fn python_tool(name: &str) -> Command {
    let tool = repository().join("tests/python/.venv/bin").join(name);
    assert!(tool.exists(), "{name} is missing: tests/run installs it");
    let mut command = Command::new(tool);
    command.current_dir(repository());
    command
}

fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{command:?}: {text}");
    text
}

/// The words behind an instruction of the Dockerfile's last stage.
fn instruction(dockerfile: &str, name: &str) -> String {
    let (_, last_stage) = dockerfile.rsplit_once("\nFROM ").unwrap();
    last_stage.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// Started as a container is: a root of its own that nothing writes to, a user without rights, the first process of its namespace.
struct Container {
    unshare: Child,
    clients: SocketAddr,
    admin: SocketAddr,
    _root: tempfile::TempDir,
}

impl Container {
    fn start() -> Container {
        let dockerfile = fs::read_to_string(repository().join("packaging/docker/Dockerfile")).unwrap();
        let root = tempfile::tempdir().unwrap();
        let layout = repository().join("packaging/docker/rootfs.sh");
        // The shipped file, but that a session whose client has gone is not waited for so long.
        let config = fs::read_to_string(repository().join("cluster.toml")).unwrap();
        let own = tempfile::NamedTempFile::new().unwrap();
        fs::write(&own, config.replace("\ngrace = \"30s\"", "\ngrace = \"1s\"")).unwrap();
        succeeds(Command::new(layout).arg(program("roomd")).arg(own.path()).arg(root.path()));

        let command: Vec<String> = serde_json::from_str(&instruction(&dockerfile, "CMD ")).unwrap();
        let entry: Vec<String> = serde_json::from_str(&instruction(&dockerfile, "ENTRYPOINT ")).unwrap();
        assert_eq!(instruction(&dockerfile, "USER "), format!("{USER}:{USER}"));
        let environment = instruction(&dockerfile, "ENV ");
        let variables = environment.split(' ').filter_map(|variable| variable.split_once('='));
        // Ports of its own, for other tests run beside it.
        let with_any_port = |(name, value): (&str, &str)| {
            let port = value.rfind(':').filter(|_| value.ends_with(|last: char| last.is_ascii_digit()));
            (name.to_owned(), port.map_or(value.to_owned(), |at| format!("{}:0", &value[..at])))
        };
        let become_user = if geteuid().is_root() { format!("--userspec={USER}:{USER}") } else { "--groups=".into() };
        let run = if geteuid().is_root() { format!("uid={USER},gid={USER},mode=0700") } else { "mode=0700".into() };
        let enter = format!(
            "set -e; cd \"$1\"; mount --bind . .; cd \"$1\"; mount --rbind /dev dev; mount -t proc proc proc; \
             mount -t tmpfs -o {run} tmpfs run/roomd; mount -o remount,ro,bind .; root=$1; shift; \
             exec chroot {become_user} \"$root\" \"$@\""
        );
        let mut unshare = Command::new("unshare");
        if !geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &enter, "sh"]).arg(root.path());
        unshare.args(entry).args(command).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        unshare.envs(variables.map(with_any_port)).env("ROOMD_WORKERS", "2").env("ROOMD_HOST", "7");
        let mut unshare = unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();

        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port_behind = |words: &str| {
            let (_, rest) = line.split_once(words).unwrap_or_else(|| panic!("{line:?}"));
            let digits: String = rest.chars().skip_while(|c| *c != ' ').skip(1).take_while(|c| *c != ' ').collect();
            let port: u16 = digits.rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?}"));
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        let (clients, admin) = (port_behind("listening on"), port_behind("admin"));
        Container { unshare, clients, admin, _root: root }
    }

    /// The first process inside, seen from outside.
    fn first(&self) -> Pid {
        let pid = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

#[test]
fn a_container_serves_as_a_user_without_rights_and_stops_when_told() {
    let mut container = Container::start();
    eventually("it is ready", || (Connection::open(container.admin).get("/readyz").status == 200).then_some(()));
    let first = container.first();
    let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    if geteuid().is_root() {
        assert!(status.contains(&format!("\nUid:\t{USER}\t{USER}\t{USER}\t{USER}\n")), "{status}");
    }
    assert!(status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")), "{status}");

    let answer = Connection::open(container.clients).get(HANDSHAKE);
    assert_eq!(answer.status, 200, "{answer:?}");
    let session: Value = serde_json::from_str(&answer.body[1..]).unwrap();
    let sid = roomd_wire::SidHome::of(session["sid"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(sid.host, 7, "ROOMD_HOST says which host it is");
    assert_eq!(Connection::open(container.clients).get("/").status, 200);

    kill(first, Signal::SIGTERM).unwrap();
    let ended =
        eventually_within(Duration::from_secs(40), "the container ends", || container.unshare.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

#[test]
fn the_dockerfile_has_nothing_that_a_linter_knows_better() {
    assert_eq!(succeeds(python_tool("hadolint").arg("packaging/docker/Dockerfile")), "");
}

/// All documents of a manifest.
fn manifest(name: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let file = fs::File::open(repository().join("packaging/kubernetes").join(name)).unwrap();
    serde_json::from_str(&succeeds(python_tool("python").args(["-c", script]).stdin(file))).unwrap()
}

#[test]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    for file in fs::read_dir(repository().join("packaging/kubernetes")).unwrap() {
        // The oldest version that has all that is used, and the newest that is known here.
        for version in ["1.30", "1.37"] {
            let mut validate = python_tool("kubernetes-validate");
            let said = succeeds(validate.args(["--strict", "-k", version]).arg(file.as_ref().unwrap().path()));
            assert!(said.contains("passed"), "{said}");
        }
    }
}

#[test]
fn the_manifests_say_what_is_true_of_roomd() {
    let pod = manifest("roomd.yaml")[0]["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let cluster = Cluster::start(1);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], "admin");
        let answer = Connection::open(cluster.admin()).get(get["path"].as_str().unwrap());
        assert_eq!(answer.status, 200, "{probe}: {answer:?}");
    }

    let dockerfile = fs::read_to_string(repository().join("packaging/docker/Dockerfile")).unwrap();
    let ports = container["ports"].as_array().unwrap().iter().map(|port| port["containerPort"].to_string());
    assert_eq!(instruction(&dockerfile, "EXPOSE "), ports.collect::<Vec<_>>().join(" "));
    assert_eq!(pod["securityContext"]["runAsUser"].to_string(), USER);

    let config = &manifest("config.yaml")[0]["data"]["cluster.toml"];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    fs::write(&file, config.as_str().unwrap()).unwrap();
    let mut check = Command::new(program("roomd"));
    check.arg("check").arg("--config").arg(&file).env_clear();
    // What the pod's environment adds, as Kubernetes would fill it in.
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let value = match name {
            "ROOMD_HOST" => "3",
            "REDIS_URL" => "redis://redis:6379",
            "ROOMD_ADMIN_TOKEN" => "0123456789abcdef0123456789abcdef",
            other => panic!("roomd does not read {other}"),
        };
        check.env(name, value);
    }
    succeeds(&mut check);
    let grace = config.as_str().unwrap().lines().find_map(|line| line.trim().strip_prefix("grace = \"")).unwrap();
    let grace: u64 = grace.trim_end_matches("s\"").parse().unwrap();
    let before = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let patience = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(patience > before + grace + 5, "Kubernetes would kill it in the middle of its grace");
}
