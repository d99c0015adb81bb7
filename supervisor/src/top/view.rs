//! What the keys change: the order of the table, what of it is in sight, whether it stands still.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::columns::Column;

/// What a key asks of the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Leave.
    Quit,
    /// Stop the process, as Ctrl-Z does elsewhere.
    Suspend,
    /// Draw again.
    Draw,
    /// Draw again all of it, since something else has written on the screen.
    DrawAnew,
    /// Nothing: the key means nothing here.
    Nothing,
}

/// How a person wants to see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// What orders the table.
    pub order: Column,
    /// The other way round.
    pub reverse: bool,
    /// What is shown stands still.
    pub paused: bool,
    /// The help is shown.
    pub help: bool,
    /// How many rows of the table are above what is in sight.
    pub above: usize,
}

impl Default for View {
    fn default() -> Self {
        View { order: Column::Slot, reverse: false, paused: false, help: false, above: 0 }
    }
}

impl View {
    /// A key was pressed; there are so many rows.
    pub fn key(&mut self, key: KeyEvent, rows: usize) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                KeyCode::Char('z') => Action::Suspend,
                KeyCode::Char('l') => Action::DrawAnew,
                _ => Action::Nothing,
            };
        }
        match key.code {
            KeyCode::Char('q' | 'Q') => return Action::Quit,
            // From the help, it leads back.
            KeyCode::Esc if !self.help => return Action::Quit,
            KeyCode::Esc => self.help = false,
            KeyCode::Char('h' | '?') | KeyCode::F(1) => self.help = !self.help,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') | KeyCode::Right => self.order_by(1),
            KeyCode::Char('S') | KeyCode::Left => self.order_by(Column::ALL.len() - 1),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.above = (self.above + 1).min(rows.saturating_sub(1)),
            KeyCode::Home => self.above = 0,
            KeyCode::End => self.above = rows.saturating_sub(1),
            _ => return Action::Nothing,
        }
        Action::Draw
    }

    fn order_by(&mut self, steps: usize) {
        let at = Column::ALL.iter().position(|column| *column == self.order).unwrap_or(0);
        self.order = Column::ALL[(at + steps) % Column::ALL.len()];
        (self.reverse, self.above) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> Action {
        view.key(code.into(), 3)
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut view = View::default();
        for (code, expected) in [
            (KeyCode::Char('p'), View { paused: true, ..View::default() }),
            (KeyCode::Char('p'), View::default()),
            (KeyCode::Char('r'), View { reverse: true, ..View::default() }),
            (KeyCode::Char('s'), View { order: Column::Generation, ..View::default() }),
            (KeyCode::Left, View::default()),
            (KeyCode::Left, View { order: Column::Death, ..View::default() }),
            (KeyCode::Right, View::default()),
            (KeyCode::Down, View { above: 1, ..View::default() }),
            (KeyCode::End, View { above: 2, ..View::default() }),
            (KeyCode::Down, View { above: 2, ..View::default() }),
            (KeyCode::Home, View::default()),
            (KeyCode::Up, View::default()),
            (KeyCode::Char('h'), View { help: true, ..View::default() }),
            (KeyCode::Esc, View::default()),
        ] {
            assert_eq!((press(&mut view, code), view), (Action::Draw, expected), "{code:?}");
        }
        assert_eq!(press(&mut view, KeyCode::Char('x')), Action::Nothing);
    }

    #[test]
    fn quitting_has_three_keys_and_a_key_that_is_let_go_is_none() {
        let mut view = View::default();
        assert_eq!(press(&mut view, KeyCode::Char('q')), Action::Quit);
        assert_eq!(press(&mut view, KeyCode::Esc), Action::Quit);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), 0), Action::Quit);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL), 0), Action::Suspend);
        let mut released = KeyEvent::from(KeyCode::Char('q'));
        released.kind = KeyEventKind::Release;
        assert_eq!(view.key(released, 0), Action::Nothing);
    }
}
