//! Where the control socket is if nobody says: `up` and the commands look in the same place.

use std::path::{Path, PathBuf};

use super::sources::Environment;

/// Where the packaged unit's `RuntimeDirectory=` puts it.
const UNIT_PATH: &str = "/run/roomd/control.sock";

/// The control socket's default path:
/// `$RUNTIME_DIRECTORY/control.sock` (systemd), else `$XDG_RUNTIME_DIR/roomd.sock`, else `roomd-UID/control.sock` below the
/// temporary directory.
pub fn default_path(environment: &Environment) -> PathBuf {
    if let Some(folders) = environment.text("RUNTIME_DIRECTORY") {
        // systemd lists several folders, separated by colons, where a unit has several.
        let first = folders.split(':').next().unwrap_or(&folders);
        return PathBuf::from(first).join("control.sock");
    }
    if let Some(folder) = environment.get("XDG_RUNTIME_DIR") {
        return PathBuf::from(folder).join("roomd.sock");
    }
    let temporary = environment.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    temporary.join(format!("roomd-{}", nix::unistd::Uid::effective())).join("control.sock")
}

/// Where a command looks: there, or else where the packaged unit has it, whose environment the command does not share.
pub fn for_command(environment: &Environment, is_there: impl Fn(&Path) -> bool) -> PathBuf {
    let default = default_path(environment);
    let of_unit = Path::new(UNIT_PATH);
    if !is_there(&default) && is_there(of_unit) { of_unit.to_owned() } else { default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_socket_has_its_place_by_the_environment() {
        let path =
            |variables: &[(&str, &str)]| default_path(&variables.iter().copied().collect()).display().to_string();
        let uid = nix::unistd::Uid::effective();
        assert_eq!(
            path(&[("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/1")]),
            "/run/a/control.sock"
        );
        assert_eq!(path(&[("XDG_RUNTIME_DIR", "/run/user/1")]), "/run/user/1/roomd.sock");
        assert_eq!(path(&[("TMPDIR", "/var/tmp")]), format!("/var/tmp/roomd-{uid}/control.sock"));
        assert_eq!(path(&[("XDG_RUNTIME_DIR", "")]), format!("/tmp/roomd-{uid}/control.sock"));
    }

    #[test]
    fn a_command_finds_the_cluster_of_the_unit_where_there_is_no_other() {
        let environment = [("XDG_RUNTIME_DIR", "/run/user/1")].into_iter().collect();
        for (there, expected) in [
            (&["/run/user/1/roomd.sock", UNIT_PATH][..], "/run/user/1/roomd.sock"),
            (&[UNIT_PATH], UNIT_PATH),
            (&[], "/run/user/1/roomd.sock"),
        ] {
            let is_there = |path: &Path| there.iter().any(|there| path == Path::new(there));
            assert_eq!(for_command(&environment, is_there), Path::new(expected));
        }
    }
}
