//! Which servers a request still waits for, and which have gone. No I/O.
//!
//! Who is there is asked before the request goes out, and again and again while answers are lacking: a server that is no longer
//! there will not answer. Our own servers say in each answer who they are; those with the official adapter do not. So it is not
//! known which of *them* have answered: when as many answers came as there are servers left, those may be the answers of the
//! living, or one of a server that has gone since. That is [`Standing::Unsure`]: waited for a little longer, and not for ever.

use std::collections::{HashMap, HashSet};

use crate::bus::Members;

/// The servers that a request was sent to, but for the one that sent it.
pub(super) struct RollCall {
    /// The one that asks.
    own: String,
    /// With a name on the bus. What is known of each.
    named: HashMap<String, Server>,
    /// Without one.
    unnamed: usize,
    /// How many of those have gone.
    unnamed_gone: usize,
    /// Answers that do not say whose they are.
    anonymous: usize,
    /// Answers of clients that are lacking, of servers that did not say who they are.
    clients: u64,
}

#[derive(Default)]
struct Server {
    answered: bool,
    gone: bool,
    /// Its clients' answers that are lacking.
    clients: u64,
}

/// How far a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// All have answered.
    Whole,
    /// Some that are there have not.
    Waiting,
    /// It may be over: see the module's documentation.
    Unsure,
    /// What is lacking will not come.
    Over,
}

impl RollCall {
    /// Of those who are there, of whom one is the server that asks.
    pub(super) fn new(members: Members, own: String) -> Self {
        let unnamed = unnamed(&members, &own);
        let others = members.names.into_iter().filter(|name| *name != own);
        let named = others.map(|name| (name, Server::default())).collect();
        RollCall { own, named, unnamed, unnamed_gone: 0, anonymous: 0, clients: 0 }
    }

    /// How many servers were asked.
    pub(super) fn servers(&self) -> usize {
        self.named.len() + self.unnamed
    }

    /// A server has answered, whose clients' answers follow.
    pub(super) fn answered(&mut self, from: Option<&str>, clients: u64) {
        match from.and_then(|from| self.named.get_mut(from)) {
            Some(server) => {
                server.answered = true;
                server.clients = server.clients.saturating_add(clients);
            }
            // Came later than the request: its answer is taken, and was not waited for.
            None if from.is_some() && self.unnamed == 0 => {}
            None => {
                self.anonymous += 1;
                self.clients = self.clients.saturating_add(clients);
            }
        }
    }

    /// A client of a server has answered.
    pub(super) fn client_answered(&mut self, from: Option<&str>) {
        let clients = match from.and_then(|from| self.named.get_mut(from)) {
            Some(server) => &mut server.clients,
            None => &mut self.clients,
        };
        *clients = clients.saturating_sub(1);
    }

    /// Who is there now.
    pub(super) fn looked(&mut self, members: &Members) {
        let there: HashSet<&str> = members.names.iter().map(String::as_str).collect();
        for (name, server) in &mut self.named {
            server.gone = !there.contains(name.as_str());
        }
        self.unnamed_gone = self.unnamed.saturating_sub(unnamed(members, &self.own));
    }

    /// Those that have gone, and are not known to have answered for themselves and all of their clients.
    pub(super) fn left(&self) -> Vec<String> {
        let left = self.named.iter().filter(|(_, server)| server.gone && (!server.answered || server.clients > 0));
        let unnamed = std::iter::repeat_n("unknown", self.unnamed_gone);
        let mut left: Vec<_> = left.map(|(name, _)| name.as_str()).chain(unnamed).map(str::to_owned).collect();
        left.sort_unstable();
        left
    }

    /// How far it is.
    pub(super) fn standing(&self) -> Standing {
        let mute = self.named.values().filter(|server| !server.answered);
        let (gone, living) =
            mute.fold((self.unnamed_gone, self.unnamed - self.unnamed_gone), |(gone, living), server| {
                if server.gone { (gone + 1, living) } else { (gone, living + 1) }
            });
        let servers = match self.anonymous {
            answers if answers >= gone + living => Standing::Whole,
            answers if answers < living => Standing::Waiting,
            0 => Standing::Over,
            _ => Standing::Unsure,
        };
        let lacking = |gone| self.named.values().any(|server| server.clients > 0 && server.gone == gone);
        let clients_of_known = match (lacking(false), lacking(true)) {
            (true, _) => Standing::Waiting,
            (false, true) => Standing::Over,
            (false, false) => Standing::Whole,
        };
        let clients_of_unknown = match (self.clients, gone, living) {
            (0, ..) => Standing::Whole,
            (_, 0, _) => Standing::Waiting,
            (_, _, 0) => Standing::Over,
            _ => Standing::Unsure,
        };
        let all = [servers, clients_of_known, clients_of_unknown];
        let first = [Standing::Waiting, Standing::Unsure, Standing::Over].into_iter().find(|one| all.contains(one));
        first.unwrap_or(Standing::Whole)
    }
}

/// How many others there are without a name.
fn unnamed(members: &Members, own: &str) -> usize {
    let named = members.names.iter().filter(|name| *name != own).count();
    usize::try_from(members.count).unwrap_or(usize::MAX).saturating_sub(1).saturating_sub(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u64, names: &[&str]) -> Members {
        Members { count, names: names.iter().map(|&name| name.to_owned()).collect() }
    }

    /// What happens, in a row: `a` answers, `?` does so without its name, `a:2` with two clients, `-a` has gone, `a!` one client of it
    /// answers, `-` one without a name has gone.
    fn after(count: u64, names: &[&str], happens: &str) -> (Standing, Vec<String>) {
        let mut call = RollCall::new(members(count, names), "me".to_owned());
        let (mut there, mut number) = (names.to_vec(), count);
        for what in happens.split_whitespace() {
            if let Some(gone) = what.strip_prefix('-') {
                there.retain(|name| *name != gone);
                number -= 1;
                call.looked(&members(number, &there));
                continue;
            }
            let (who, clients) = what.split_once(':').unwrap_or((what, "0"));
            let from = |who: &'static str| Some(who).filter(|who| *who != "?");
            let known = ["a", "b", "new", "?"].into_iter().find(|known| who.trim_end_matches('!') == *known);
            match (known, who.ends_with('!')) {
                (Some(known), true) => call.client_answered(from(known)),
                (Some(known), false) => call.answered(from(known), clients.parse().unwrap_or(0)),
                (None, _) => panic!("{what}"),
            }
        }
        (call.standing(), call.left())
    }

    #[test]
    fn a_request_is_over_when_nobody_who_is_there_owes_an_answer() {
        use Standing::{Over, Unsure, Waiting, Whole};
        let all = &["me", "a", "b"][..];
        for (count, names, happens, standing, left) in [
            (1, &["me"][..], "", Whole, &[][..]),
            (3, all, "", Waiting, &[]),
            (3, all, "a b", Whole, &[]),
            (3, all, "? ?", Whole, &[]),
            (3, all, "a ?", Whole, &[]),
            (3, all, "a -b", Over, &["b"]),
            (3, all, "-b a", Over, &["b"]),
            (3, all, "-a -b", Over, &["a", "b"]),
            // Who answered and then left is not missed, and whoever is slow is waited for.
            (3, all, "a -a", Waiting, &[]),
            (3, all, "a -a b", Whole, &[]),
            // One of two answered, and one is gone: whether it was the same one is not known.
            (3, all, "? -b", Unsure, &["b"]),
            (3, all, "? -b ?", Whole, &["b"]),
            (3, all, "-b ?", Unsure, &["b"]),
            // Ours are known.
            (3, all, "a a -b", Over, &["b"]),
            // Who joined later is listened to, and not waited for.
            (3, all, "new a", Waiting, &[]),
            (3, all, "new -b a", Over, &["b"]),
            // Without names there are numbers.
            (3, &[], "a b", Whole, &[]),
            (3, &[], "- -", Over, &["unknown", "unknown"]),
            (4, all, "a b", Waiting, &[]),
            (4, all, "a b -", Over, &["unknown"]),
            // Clients.
            (3, all, "a:2 b", Waiting, &[]),
            (3, all, "a:2 b a! a!", Whole, &[]),
            (3, all, "a:2 b a! -a", Over, &["a"]),
            (3, all, "a:2 a! a! -a b", Whole, &[]),
            (3, all, "a:2 b:1 -a", Waiting, &["a"]),
            (3, all, "a:2 b:1 -a b!", Over, &["a"]),
            (3, all, "?:1 ?:1 ?!", Waiting, &[]),
            (3, all, "?:1 ?:1 ?! -b", Unsure, &["b"]),
            (3, all, "?:1 ?:1 ?! -b -a", Over, &["a", "b"]),
            (3, all, "?:1 ?:1 ?! -b ?!", Whole, &["b"]),
            (2, &["me", "a"], "?:3 ?! -a", Over, &["a"]),
        ] {
            let left: Vec<_> = left.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(after(count, names, happens), (standing, left), "{count} {names:?}: {happens}");
        }
    }

    #[test]
    fn a_server_that_comes_back_can_answer() {
        let all = members(3, &["me", "a", "b"]);
        let mut call = RollCall::new(all.clone(), "me".to_owned());
        call.answered(Some("a"), 0);
        call.looked(&members(1, &["me"]));
        assert_eq!(call.standing(), Standing::Over);
        call.looked(&all);
        assert_eq!(call.standing(), Standing::Waiting);
    }

    #[test]
    fn random_histories_end_when_all_are_gone_and_never_while_a_known_one_owes() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for round in 0..3000 {
            let names = ["me", "a", "b", "c", "d"];
            let mut call = RollCall::new(members(5, &names), "me".to_owned());
            let (mut owes, mut there) = (vec!["a", "b", "c", "d"], names.to_vec());
            for _ in 0..rng.usize(..8) {
                let one = names[rng.usize(1..5)];
                if rng.bool() {
                    there.retain(|name| *name != one);
                    call.looked(&members(there.len() as u64, &there));
                } else if there.contains(&one) {
                    call.answered(Some(one), 0);
                    owes.retain(|name| *name != one);
                }
                let living = owes.iter().any(|name| there.contains(name));
                let expected = match (owes.is_empty(), living) {
                    (true, _) => Standing::Whole,
                    (false, true) => Standing::Waiting,
                    (false, false) => Standing::Over,
                };
                assert_eq!(call.standing(), expected, "seed {seed} round {round}: {owes:?} of {there:?}");
            }
        }
    }
}
