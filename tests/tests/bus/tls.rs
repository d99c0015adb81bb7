//! Redis behind TLS, with an authority of the test's own.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use roomd_worker::bus::{HealthTiming, RedisBus};

use super::{RedisServer, member::Member, run};

/// Tells the test, in a process whose trusted authorities it has set, where the server is.
const PORT: &str = "ROOMD_TEST_TLS_PORT";

const TIMING: HealthTiming = HealthTiming { interval: Duration::from_millis(100), deadline: Duration::from_secs(5) };

fn member(host: &str, port: &str) -> Member {
    Member::new(|inbox| RedisBus::new(&format!("rediss://{host}:{port}"), TIMING, inbox).unwrap())
}

#[test]
fn a_tls_server_is_used_if_the_system_trusts_its_authority_and_else_not() {
    if let Ok(port) = std::env::var(PORT) {
        run(async {
            for host in ["localhost", "127.0.0.1"] {
                let (one, two) = (member(host, &port), member(host, &port));
                one.bus.subscribe("room");
                one.settle(&two).await;
                two.bus.publish("room", &vec![7; 300_000]);
                assert_eq!(one.next().await.1.len(), 300_000);
            }
        });
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _server = RedisServer::start(&[
        &format!("--tls-port {port} --tls-auth-clients no"),
        &format!("--tls-cert-file {} --tls-key-file {}", path("server.crt"), path("server.key")),
        &format!("--tls-ca-cert-file {}", path("authority.crt")),
    ]);
    run(async {
        let reason = member("localhost", &port).down().await;
        assert!(reason.contains("agree on TLS") && reason.contains("SSL_CERT_FILE"), "{reason}");
    });
    // What a process trusts is read from its environment, which is not to be changed under the other tests.
    let name = "tls::a_tls_server_is_used_if_the_system_trusts_its_authority_and_else_not";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("SSL_CERT_FILE", path("authority.crt"))
        .env(PORT, &port)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn make_certificates(directory: &Path) {
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 -extfile names -out server.crt",
    ] {
        let status = Command::new("openssl")
            .current_dir(directory)
            .args(arguments.split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("this test needs openssl (Debian: apt install openssl): {error}"));
        assert!(status.success(), "openssl {arguments}: {status}");
    }
}
