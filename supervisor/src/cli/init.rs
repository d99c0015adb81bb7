//! `roomd init`: writes a commented configuration, and a unit for systemd.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{commands::show, failure::Failure};
use crate::config::DEFAULT_FILE;

/// The commented configuration, as it is shipped.
const CONFIGURATION: &str = include_str!("../../../cluster.toml");
/// Its line with the control socket's place in a comment, which a unit sets.
const CONTROL: &str = "#control = \"/run/roomd/control.sock\"";
/// The unit, as it is shipped.
const UNIT: &str = include_str!("../../../packaging/systemd/roomd.service");
/// What the unit runs, and where packages put it.
const PACKAGED: &str = "/usr/bin/roomd";
/// The line by which the unit's user is made for it.
const DYNAMIC_USER: &str = "DynamicUser=yes";
/// Where the unit reads its configuration.
const UNIT_CONFIGURATION: &str = "/etc/roomd/cluster.toml";
/// Where systemd looks for what an administrator adds.
const UNIT_PLACE: &str = "/etc/systemd/system/roomd.service";

/// What `roomd init` is asked.
#[derive(Args, Clone, Default, PartialEq, Eq, Debug)]
pub struct Init {
    /// Write a unit for systemd too: it runs this very program, with its configuration in /etc/roomd
    #[arg(long)]
    systemd: bool,
    /// Write into this folder [default: this one; with --systemd /etc/roomd and /etc/systemd/system]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The user that the unit runs as [default: one that exists only while it runs]
    #[arg(long, value_name = "NAME", requires = "systemd", value_parser = user)]
    user: Option<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Print what would be written, and write nothing
    #[arg(long, conflicts_with = "force")]
    stdout: bool,
}

/// A file to write.
struct Planned {
    path: PathBuf,
    text: String,
}

/// Carries it out.
pub fn init(asked: &Init) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(Failure::runtime)?;
    let planned = plan(asked, &program)?;
    if asked.stdout {
        let texts: Vec<_> =
            planned.iter().map(|file| format!("# {}\n\n{}", file.path.display(), file.text.trim_end())).collect();
        return show(&texts.join("\n\n"));
    }
    // Either all or none, as far as that can be known before.
    if let Some(there) = planned.iter().find(|file| !asked.force && file.path.symlink_metadata().is_ok()) {
        return Err(Failure::Runtime(format!(
            "{} is there already: look at what would be written with --stdout, replace it with --force",
            there.path.display()
        )));
    }
    for file in &planned {
        write(file, asked.force).map_err(|error| {
            Failure::Runtime(format!(
                "cannot write {}: {error}; choose another folder with --dir, or print with --stdout",
                file.path.display()
            ))
        })?;
    }
    let written = planned.iter().map(|file| format!("wrote {}", file.path.display()));
    show(&written.chain(next_steps(asked, &program)).collect::<Vec<_>>().join("\n"))
}

fn plan(asked: &Init, program: &Path) -> Result<Vec<Planned>, Failure> {
    let configuration = |path| Planned { path, text: CONFIGURATION.to_owned() };
    if !asked.systemd {
        return Ok(vec![configuration(asked.dir.clone().unwrap_or_default().join(DEFAULT_FILE))]);
    }
    let place = |usual: &str, name: &str| asked.dir.as_ref().map_or_else(|| usual.into(), |folder| folder.join(name));
    let mut configuration = configuration(place(UNIT_CONFIGURATION, DEFAULT_FILE));
    // So that the commands find it with the file alone.
    configuration.text = configuration.text.replace(CONTROL, CONTROL.trim_start_matches('#'));
    let unit = Planned { path: place(UNIT_PLACE, "roomd.service"), text: unit(program, asked.user.as_deref())? };
    Ok(vec![configuration, unit])
}

/// The unit for this program.
fn unit(program: &Path, user: Option<&str>) -> Result<String, Failure> {
    let path = program.to_str().filter(|path| !path.contains(|c: char| c.is_control())).ok_or_else(|| {
        Failure::Runtime(format!(
            "{} is no path that a unit can name: install the program elsewhere",
            program.display()
        ))
    })?;
    let word = match path.contains([' ', '"', '\'', '\\', '$', '%', ';']) {
        // As systemd.service(5) and systemd.syntax(7) ask for.
        true => {
            format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$"))
        }
        false => path.to_owned(),
    };
    let unit = UNIT.replace(&format!("={PACKAGED} "), &format!("={word} "));
    Ok(match user {
        Some(user) => unit.replace(DYNAMIC_USER, &format!("User={user}")),
        None => unit,
    })
}

fn next_steps(asked: &Init, program: &Path) -> Vec<String> {
    let file = asked.dir.clone().unwrap_or_default().join(DEFAULT_FILE);
    if !asked.systemd {
        let up = if asked.dir.is_some() { format!("roomd --config {}", file.display()) } else { "roomd".into() };
        return vec![format!("next: every key is explained there; `roomd check` finds mistakes; `{up}` starts")];
    }
    let mut steps = Vec::new();
    if let Some(folder) = &asked.dir {
        steps.push(format!(
            "next: install -D -m 644 {} {UNIT_CONFIGURATION} && install -m 644 {} {UNIT_PLACE}",
            file.display(),
            folder.join("roomd.service").display(),
        ));
    }
    steps.push(format!(
        "next: say where clients connect ([cluster] listen, [socketio] cors_origins) in {UNIT_CONFIGURATION}"
    ));
    steps.push("next: systemctl daemon-reload && systemctl enable --now roomd".into());
    steps.push(format!("then: systemctl status roomd; roomd status --config {UNIT_CONFIGURATION}"));
    if ["/home", "/root", "/run/user", "/tmp", "/var/tmp"].iter().any(|hidden| program.starts_with(hidden)) {
        steps.push(format!(
            "but: the unit's sandbox hides {}: install the program in /usr/local/bin and run init from there",
            program.display()
        ));
    }
    steps
}

fn write(file: &Planned, force: bool) -> io::Result<()> {
    if let Some(folder) = file.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    options.open(&file.path)?.write_all(file.text.as_bytes())
}

/// The name of a user, as systemd takes it.
fn user(text: &str) -> Result<String, &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match starts_well && text.len() <= 31 && text.chars().all(good) {
        true => Ok(text.to_owned()),
        false => Err("give the name of a user: letters, digits, _ and -, at most 31"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_there_to_be_replaced() {
        assert!(CONFIGURATION.contains(CONTROL) && UNIT.contains(DYNAMIC_USER));
        assert_eq!(UNIT.matches(&format!("={PACKAGED} ")).count(), 2, "ExecStart and ExecReload");
        assert!(!UNIT.contains("\nUser="));
    }

    #[test]
    fn the_unit_runs_this_program_as_the_user() {
        let text = unit(Path::new("/opt/chat"), None).unwrap();
        assert!(text.contains("\nExecStart=/opt/chat up --config /etc/roomd/cluster.toml\n"), "{text}");
        assert!(text.contains("\nExecReload=/opt/chat reload ") && text.contains("\nDynamicUser=yes\n"), "{text}");
        let text = unit(Path::new("/opt/50% \"x\"/chat"), Some("www-data")).unwrap();
        assert!(text.contains("\nExecStart=\"/opt/50%% \\\"x\\\"/chat\" up "), "{text}");
        assert!(text.contains("\nUser=www-data\n") && !text.contains("DynamicUser"), "{text}");
        assert!(unit(Path::new("/opt/\n"), None).is_err());
    }

    #[test]
    fn nothing_is_overwritten_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let asked = Init { dir: Some(folder.path().into()), systemd: true, ..Init::default() };
        fs::write(folder.path().join("roomd.service"), "mine").unwrap();
        let Err(Failure::Runtime(message)) = init(&asked) else { panic!("it was overwritten") };
        assert!(message.contains("roomd.service is there already") && message.contains("--force"), "{message}");
        assert_eq!(fs::read_to_string(folder.path().join("roomd.service")).unwrap(), "mine");
        assert!(!folder.path().join("cluster.toml").exists(), "half of it was written");
        init(&Init { force: true, ..asked }).unwrap();
        let configuration = fs::read_to_string(folder.path().join("cluster.toml")).unwrap();
        assert!(configuration.contains("\ncontrol = \"/run/roomd/control.sock\"\n"));
        assert!(fs::read_to_string(folder.path().join("roomd.service")).unwrap().contains("[Service]"));
    }

    #[test]
    fn a_folders_configuration_is_the_shipped_one() {
        let folder = tempfile::tempdir().unwrap();
        init(&Init { dir: Some(folder.path().join("new")), ..Init::default() }).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("new/cluster.toml")).unwrap(), CONFIGURATION);
    }

    #[test]
    fn a_users_name_cannot_add_lines_to_the_unit() {
        for (name, good) in
            [("www-data", true), ("_x1", true), ("", false), ("a b", false), ("a\nb", false), ("1a", false)]
        {
            assert_eq!(user(name).is_ok(), good, "{name:?}");
        }
    }
}
