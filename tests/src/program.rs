//! The programs that tests start.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A program of this workspace, built before the tests.
///
/// # Panics
/// If it is missing or older than its source: `cargo test` builds the programs of this package alone, and a test of another
/// roomd than the one that was changed would say nothing.
pub fn program(name: &str) -> PathBuf {
    static FRESH: OnceLock<Result<(), String>> = OnceLock::new();
    // Test executables are in target/PROFILE/deps.
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap();
    if let Err(reason) = FRESH.get_or_init(|| check(&folder.join("roomd"))) {
        panic!("{reason}: build it first (cargo build --workspace --all-targets), as tests/run does");
    }
    folder.join(name)
}

/// Whether a program is as new as all that it was built from, which cargo notes beside it.
fn check(program: &Path) -> Result<(), String> {
    let shown = program.display();
    let changed = |file: &Path| fs::metadata(file).and_then(|file| file.modified());
    let built = changed(program).map_err(|error| format!("{shown} is missing ({error})"))?;
    let note = fs::read_to_string(program.with_extension("d")).map_err(|error| format!("{shown}.d: {error}"))?;
    for source in sources(&note) {
        match changed(&source) {
            Ok(changed) if changed <= built => {}
            Ok(_) => return Err(format!("{shown} is older than {}", source.display())),
            Err(_) => return Err(format!("{shown} was built with {}, which is gone", source.display())),
        }
    }
    Ok(())
}

/// The files behind the colon of `PROGRAM: FILE FILE …`. Spaces in names are escaped.
fn sources(note: &str) -> Vec<PathBuf> {
    let (_, files) = note.split_once(": ").unwrap_or_default();
    let files = files.trim().replace("\\ ", "\0");
    files.split_whitespace().map(|file| file.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_program_is_fresh_while_no_source_is_newer() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (program, source) = (file("program"), file("a source.rs"));
        assert!(check(&program).unwrap_err().contains("is missing"));
        for path in [&program, &source] {
            fs::write(path, "").unwrap();
        }
        let escaped = |path: &Path| path.display().to_string().replace(' ', "\\ ");
        fs::write(file("program.d"), format!("{}: {}\n", escaped(&program), escaped(&source))).unwrap();
        let at = |path, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        at(&program, 100);
        at(&source, 99);
        assert_eq!(check(&program), Ok(()));
        at(&source, 101);
        let reason = check(&program).unwrap_err();
        assert!(reason.contains("is older than") && reason.ends_with("a source.rs"), "{reason}");
        fs::remove_file(&source).unwrap();
        assert!(check(&program).unwrap_err().contains("which is gone"));
    }
}
