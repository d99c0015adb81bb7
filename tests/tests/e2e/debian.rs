//! The Debian package: built, then installed, changed, updated, removed and purged by the real dpkg, on a copy of this system that
//! a namespace throws away.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::unistd::geteuid;
use roomd_tests::program;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{command:?}: {text}");
    text
}

/// Builds packages of these versions. What takes long and changes nothing that is tried here is left out: the program has lost its
/// symbols already, and nothing is compressed well.
fn build(folder: &Path, versions: &[&str]) -> Vec<PathBuf> {
    let stripped = folder.join("roomd");
    succeeds(Command::new("strip").arg("-o").arg(&stripped).arg(program("roomd")));
    let package = |version: &&str| {
        let mut build = Command::new(repository().join("packaging/debian/build"));
        build.args(["--version", version, "--program"]).arg(&stripped).arg("--output").arg(folder);
        build.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
        PathBuf::from(succeeds(&mut build).trim())
    };
    versions.iter().map(package).collect()
}

#[test]
fn the_package_is_installed_updated_and_removed_and_keeps_what_the_operator_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let packages = build(folder.path(), &["0.1.0", "0.1.1"]);
    let story = r#"
        set -e
        mkdir upper work system
        mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work system
        mount --rbind /dev system/dev; mount -t proc proc system/proc; mount -t tmpfs tmpfs system/run
        mkdir system/packages; mount --bind . system/packages
        cat >system/story <<'STORY'
set -e
export DEBIAN_FRONTEND=noninteractive
say() { echo "== $*"; }
dpkg --purge roomd >/dev/null 2>&1 || true
say installed; dpkg -i /packages/"$1"
roomd --version
roomd check --config /etc/roomd/cluster.toml
man -w roomd; zcat "$(man -w roomd)" | grep -c '^\.SS'
systemd-analyze verify /lib/systemd/system/roomd.service 2>&1 | grep roomd || true
readlink -f /etc/systemd/system/multi-user.target.wants/roomd.service
test ! -e /etc/systemd/system/sockets.target.wants/roomd.socket
say changed; printf '\n# by the operator\n' >>/etc/roomd/cluster.toml
say updated; dpkg -i /packages/"$2"
dpkg-query -W -f '${Version}\n' roomd
grep -c 'by the operator' /etc/roomd/cluster.toml
say removed; dpkg -r roomd
test ! -e /usr/bin/roomd
grep -c 'by the operator' /etc/roomd/cluster.toml
say purged; mkdir -p /var/lib/private/roomd; dpkg -P roomd
test ! -e /etc/roomd/cluster.toml; test ! -e /var/lib/private/roomd
test ! -e /etc/systemd/system/multi-user.target.wants/roomd.service
say end
STORY
        chroot system sh /story "$@" 2>&1
    "#;
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", story, "sh"]).current_dir(folder.path());
    unshare.args(packages.iter().map(|package| package.file_name().unwrap()));
    unshare.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let told = succeeds(&mut unshare);
    let parts: Vec<&str> = told.split("== ").collect();
    let part = |name: &str| *parts.iter().find(|part| part.starts_with(name)).unwrap_or_else(|| panic!("{told}"));
    assert!(part("installed").contains("Setting up roomd (0.1.0)"), "{told}");
    assert!(part("installed").contains("/lib/systemd/system/roomd.service"), "it is enabled: {told}");
    assert!(part("updated").contains("\n0.1.1\n1\n"), "the new version, and the operator's line: {told}");
    assert!(part("removed").ends_with("\n1\n"), "the configuration stays until it is purged: {told}");
    assert!(told.contains("== end"), "{told}");
}

#[test]
fn the_package_has_nothing_that_debian_finds_fault_with() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path(), &["0.1.0"]).remove(0);
    let listed = succeeds(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for file in ["./usr/bin/roomd", "./etc/roomd/cluster.toml", "./usr/share/man/man1/roomd.1.gz"] {
        assert!(listed.contains(file), "{file}: {listed}");
    }
    let conffiles = succeeds(Command::new("dpkg-deb").arg("--info").arg(&package).arg("conffiles"));
    assert_eq!(conffiles, "/etc/roomd/cluster.toml\n");

    // There is no address of the authors to give. How well it is compressed is the real build's.
    let mut lintian = Command::new("lintian");
    lintian.args([
        "--fail-on",
        "error,warning",
        "--suppress-tags",
        "bogus-mail-host,bogus-mail-host-in-debian-changelog",
    ]);
    let found = succeeds(lintian.arg(&package));
    assert!(!found.contains("roomd:"), "{found}");
}
