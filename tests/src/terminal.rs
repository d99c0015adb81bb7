//! A terminal of the test's own: tmux, whose screen can be read and whose keys can be pressed.

use std::{path::Path, process::Command};

use crate::eventually;

/// A shell in a terminal; ends with the value.
pub struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    /// A shell in a terminal of this size.
    pub fn open(columns: u16, lines: u16) -> Terminal {
        let terminal = Terminal { folder: tempfile::tempdir().unwrap() };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &lines,
            "env PS1='shell> ' bash --norc --noprofile",
        ]);
        // Else it would ask by whose environment it was attached.
        terminal.tmux(&["set-option", "-g", "window-size", "manual"]);
        eventually("the shell is there", || terminal.screen().contains("shell>").then_some(()));
        terminal
    }

    /// Types a line and presses Enter.
    pub fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key, as tmux calls it: `q`, `Enter`, `C-c`, `Up`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until something is on the screen, and gives all of that.
    pub fn sees(&self, what: &str) -> String {
        self.shows(what, |screen| screen.contains(what))
    }

    /// Waits for a screen that satisfies.
    ///
    /// # Panics
    /// If it does not come, with what is there instead.
    pub fn shows(&self, what: &str, satisfies: impl Fn(&str) -> bool) -> String {
        for _ in 0..400 {
            let screen = self.screen();
            if satisfies(&screen) {
                return screen;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the terminal does not show {what}, but\n{}", self.screen());
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// Whether a program has the second screen, which full-screen programs use, and whether the cursor is seen.
    pub fn is_taken(&self) -> bool {
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        flags.trim() != "0 1"
    }

    /// Its own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.folder.path().join("tmux")).args(["-f", "/dev/null"]).args(arguments);
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8").env("TERM", "screen-256color");
        let output = command.output().expect("these tests need tmux: tests/run installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(self.folder.path().join("tmux")).arg("kill-server").output();
    }
}
