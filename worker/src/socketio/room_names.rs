//! One room, or several at once, where Node takes a text or an array.

use std::rc::Rc;

/// Names of rooms: one, or an array, slice or vector of them.
///
/// ```
/// # use roomd_worker::socketio::*;
/// # fn example(socket: &Socket, mine: String, all: Vec<String>) {
/// socket.join("lobby");
/// socket.join(&mine);
/// socket.join(["red", "green"]);
/// socket.join(&all);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no rooms",
    label = "a name, or an array, slice or vector of names is wanted"
)]
pub trait RoomNames<'a> {
    /// Hands over each name.
    fn each(self, take: impl FnMut(&'a str));
}

macro_rules! one {
    ($($name:ty)*) => {$(
        impl<'a> RoomNames<'a> for &'a $name {
            fn each(self, mut take: impl FnMut(&'a str)) {
                take(self);
            }
        }
    )*};
}

one!(str &'a str String &'a String Box<str> Rc<str>);

impl<'a, const N: usize> RoomNames<'a> for [&'a str; N] {
    fn each(self, take: impl FnMut(&'a str)) {
        self.into_iter().for_each(take);
    }
}

impl<'a, S: AsRef<str>, const N: usize> RoomNames<'a> for &'a [S; N] {
    fn each(self, take: impl FnMut(&'a str)) {
        self.as_slice().each(take);
    }
}

impl<'a, S: AsRef<str>> RoomNames<'a> for &'a [S] {
    fn each(self, take: impl FnMut(&'a str)) {
        self.iter().map(AsRef::as_ref).for_each(take);
    }
}

impl<'a, S: AsRef<str>> RoomNames<'a> for &'a Vec<S> {
    fn each(self, take: impl FnMut(&'a str)) {
        self.as_slice().each(take);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<'a>(names: impl RoomNames<'a>) -> Vec<&'a str> {
        let mut all = Vec::new();
        names.each(|name| all.push(name));
        all
    }

    #[test]
    fn rooms_are_named_one_by_one_and_together() {
        let (owned, list) = ("a".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(all("a"), ["a"]);
        assert_eq!(all(&owned), ["a"]);
        assert_eq!(all(["a", "b"]), ["a", "b"]);
        assert_eq!(all(&list), ["a", "b"]);
        assert_eq!(all(&list[1..]), ["b"]);
    }
}
