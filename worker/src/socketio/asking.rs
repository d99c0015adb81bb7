//! What this server asks and orders the others, through the adapter (`wire.md` 4.3).
//!
//! It acts on its own sockets itself and at once: what it published comes back to it and is passed over.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Io,
    ack::{Answers, RequestError},
    asked::{Asked, End},
    namespaces::{Nsp, Present, TooMany},
    pending,
    roll_call::{RollCall, Standing},
    server::count,
};
use crate::{
    adapter::codec::{
        Flags, Packet, RemoteSocket, Request, RequestBody, Response, ResponseBody, Room, Selector, WriteError,
        random_id,
    },
    bus::{Bus, BusError, LocalFuture, Members},
    protocol::{Data, PacketType},
};

/// How soon Redis is asked again whether it has confirmed a child's subscriptions, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Io {
    /// Makes sockets join or leave rooms, or disconnects them: on the other servers, unless it is `local`, and here at once.
    pub(super) fn order(&self, nsp: &Rc<Nsp>, body: RequestBody, local: bool) -> Result<(), WriteError> {
        let nsp = &self.0.current(nsp);
        let request = self.request(nsp, None, body);
        // First elsewhere: a handler that runs here may change who is meant.
        let published = if local { Ok(()) } else { self.publish_request(nsp, &request) };
        self.carry_out(nsp, request);
        published
    }

    /// Publishes an event for the other servers' own handlers.
    pub(super) fn tell_servers(&self, nsp: &Rc<Nsp>, data: Data) -> Result<(), WriteError> {
        let nsp = &self.0.current(nsp);
        self.publish_request(nsp, &self.request(nsp, None, RequestBody::ServerSideEmit { data }))
    }

    fn request(&self, nsp: &Rc<Nsp>, request_id: Option<String>, body: RequestBody) -> Request {
        Request { uid: Some(nsp.uid.to_string()), request_id, body }
    }

    fn publish_request(&self, nsp: &Rc<Nsp>, request: &Request) -> Result<(), WriteError> {
        let message = request.encode()?;
        if let Some(bus) = self.0.bus.get() {
            bus.publish(nsp.channels.request(), &message);
            self.0.engine.schedule_flush();
        }
        Ok(())
    }

    /// Who is there, this server among them.
    async fn members(&self, nsp: &Rc<Nsp>, local: bool, time: &Time) -> Result<Members, BusError> {
        let Some(bus) = self.0.bus.get().filter(|_| !local) else {
            return Ok(Members { count: 1, names: Vec::new() });
        };
        let count = |channel| {
            let asked = bus.count_subscribers(channel);
            self.0.engine.schedule_flush();
            async { timeout_at(time.deadline, asked).await.map_err(|_elapsed| BusError::Timeout(time.within))? }
        };
        // In a child that has just begun this server must count itself, and hear the answers.
        let mut pause = FIRST_PAUSE;
        while !nsp.is_heard.get() {
            // Subscribed to last.
            nsp.is_heard.set(count(nsp.channels.own_response()).await? > 0);
            if !nsp.is_heard.get() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        let asked = self.look(nsp, &**bus);
        timeout_at(time.deadline, asked).await.map_err(|_elapsed| BusError::Timeout(time.within))?
    }

    /// Asks the bus who is there.
    pub(super) fn look(&self, nsp: &Nsp, bus: &dyn Bus) -> LocalFuture<Result<Members, BusError>> {
        let asked = bus.members(nsp.channels.request(), nsp.channels.response());
        self.0.engine.schedule_flush();
        asked
    }

    /// Asks the other servers something, under a new id.
    fn ask(&self, nsp: &Rc<Nsp>, body: RequestBody, servers: RollCall) -> Result<Asked, WriteError> {
        let id = random_id(&mut self.0.rng.borrow_mut());
        let asked = Asked::new(self, nsp, &id, servers);
        self.publish_request(nsp, &self.request(nsp, Some(id), body))?;
        Ok(asked)
    }

    /// The namespace, as long as answers are waited for in it.
    fn present<T>(&self, nsp: &Rc<Nsp>) -> Result<Present<'_>, RequestError<T>> {
        self.0.present(nsp).map_err(|TooMany| RequestError::TooManyNamespaces)
    }

    /// Asks all other servers and adds each one's answer to what this one knows. `take` says whether it was such an answer.
    async fn gather<T>(
        &self,
        nsp: &Rc<Nsp>,
        local: bool,
        within: Duration,
        body: RequestBody,
        mut found: Vec<T>,
        take: impl Fn(ResponseBody, &mut Vec<T>) -> bool,
    ) -> Result<Answers<T>, RequestError<T>> {
        let time = Time::new(within);
        let Present { nsp, .. } = &self.present(nsp)?;
        let servers = match self.members(nsp, local, &time).await {
            Ok(members) => RollCall::new(members, self.0.name_on_bus(nsp)),
            Err(source) => return Err(RequestError::Bus { source, partial: Answers { answers: found, expected: 1 } }),
        };
        let (expected, mut too_long) = (servers.servers() + 1, None);
        if servers.standing() != Standing::Whole {
            let mut asked = self.ask(nsp, body, servers)?;
            while asked.servers.standing() != Standing::Whole {
                let (from, body) = match asked.next(time.deadline, false).await {
                    Ok(Response { from, body, .. }) => (from, body),
                    Err(end) => return Err(end.with(within, Answers { answers: found, expected })),
                };
                let answered = match body {
                    ResponseBody::TooLong { bytes } => {
                        too_long = Some(bytes);
                        true
                    }
                    body => take(body, &mut found),
                };
                if answered {
                    asked.servers.answered(from.as_deref(), 0);
                }
            }
        }
        whole(Answers { answers: found, expected }, too_long)
    }

    /// See [`super::Broadcast::fetch_sockets`].
    pub(super) async fn fetch_all(
        &self,
        nsp: &Rc<Nsp>,
        target: Selector,
        local: bool,
        within: Duration,
    ) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        let found = self.fetch_here(&self.0.current(nsp), &target);
        self.gather(nsp, local, within, RequestBody::Fetch { target }, found, |answer, found| match answer {
            ResponseBody::Sockets(sockets) => {
                found.extend(sockets);
                true
            }
            _ => false,
        })
        .await
    }

    /// See [`super::Namespaced::all_rooms`].
    pub(super) async fn all_rooms(
        &self,
        nsp: &Rc<Nsp>,
        within: Duration,
    ) -> Result<Answers<String>, RequestError<String>> {
        let name = |room: Room| room.name().map(str::to_owned);
        let found = self.all_rooms_here(&self.0.current(nsp)).into_iter().filter_map(name).collect();
        let found = self.gather(nsp, false, within, RequestBody::AllRooms, found, |answer, found| match answer {
            ResponseBody::Rooms(rooms) => {
                found.extend(rooms.into_iter().filter_map(name));
                true
            }
            // An empty list of either kind reads as one of sockets.
            ResponseBody::Sockets(sockets) => sockets.is_empty(),
            _ => false,
        });
        let each_once = |mut answers: Answers<String>| {
            answers.answers.sort_unstable();
            answers.answers.dedup();
            answers
        };
        found.await.map(each_once).map_err(|error| error.map_partial(each_once))
    }

    /// See [`super::Namespaced::server_side_emit_with_ack`].
    pub(super) async fn ask_servers(
        &self,
        nsp: &Rc<Nsp>,
        data: Data,
        within: Duration,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let take = |answer, found: &mut Vec<_>| match answer {
            ResponseBody::ServerSideEmit(answer) => {
                found.push(answer);
                true
            }
            _ => false,
        };
        let body = RequestBody::ServerSideEmit { data };
        // This server does not answer itself.
        let others = |answers: Answers<_>| Answers { expected: answers.expected - 1, ..answers };
        let answers = self.gather(nsp, false, within, body, Vec::new(), take).await;
        answers.map(others).map_err(|error| error.map_partial(others))
    }

    /// See [`super::Broadcast::emit_with_ack`].
    pub(super) async fn broadcast_with_ack(
        &self,
        nsp: &Rc<Nsp>,
        target: Selector,
        mut flags: Flags,
        local: bool,
        data: Data,
        within: Duration,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let time = Time::new(within);
        let Present { nsp, .. } = &self.present(nsp)?;
        flags.timeout_ms = Some(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let name = nsp.name.to_string();
        let packet = Packet { kind: PacketType::Event, nsp: name, id: None, data: Some(data) };
        count(&self.0.counters.events_out);
        let (mut expected, mut here) = self.deliver_with_ack(nsp, &packet, &target, flags);
        let (mut answers, mut too_long) = (Vec::new(), None);
        // The clients here have it already, whether or not the bus can be asked.
        let servers = match self.members(nsp, local, &time).await {
            Ok(members) => RollCall::new(members, self.0.name_on_bus(nsp)),
            Err(source) => return Err(RequestError::Bus { source, partial: Answers { answers, expected } }),
        };
        let (mut missing_here, mut asked) = (expected, None);
        if servers.standing() != Standing::Whole {
            asked = Some(self.ask(nsp, RequestBody::Broadcast { packet, target, flags }, servers)?);
        }
        let first_is_enough = |answers: &[_]| flags.expect_single_response && !answers.is_empty();
        let lacks =
            |asked: &Option<Asked>| asked.as_ref().is_some_and(|asked| asked.servers.standing() != Standing::Whole);
        while (missing_here > 0 || lacks(&asked)) && !first_is_enough(&answers) {
            let mine = missing_here > 0;
            let elsewhere = async {
                match &mut asked {
                    // What clients here say is waited for all the same.
                    Some(asked) => asked.next(time.deadline, mine).await,
                    None => {
                        tokio::time::sleep_until(time.deadline).await;
                        Err(End::Time)
                    }
                }
            };
            let heard = tokio::select! {
                Some(answer) = here.next(), if mine => {
                    missing_here -= 1;
                    answers.push(answer);
                    continue;
                }
                heard = elsewhere => heard,
            };
            let asked_servers = asked.as_mut().map(|asked| &mut asked.servers);
            match (heard, asked_servers) {
                (Ok(Response { from, body, .. }), Some(servers)) => match body {
                    ResponseBody::ClientCount(clients) => {
                        expected = expected.saturating_add(usize::try_from(clients).unwrap_or(usize::MAX));
                        servers.answered(from.as_deref(), clients);
                    }
                    ResponseBody::Ack(answer) => {
                        servers.client_answered(from.as_deref());
                        answers.push(answer);
                    }
                    ResponseBody::TooLong { bytes } => {
                        servers.client_answered(from.as_deref());
                        too_long = Some(bytes);
                    }
                    _other_kind => {}
                },
                (Ok(_), None) => {}
                (Err(end), _) => return Err(end.with(within, Answers { answers, expected })),
            }
        }
        whole(Answers { answers, expected }, too_long)
    }
}

/// What came, if an answer that was too long does not make it partial.
fn whole<T>(partial: Answers<T>, too_long: Option<u64>) -> Result<Answers<T>, RequestError<T>> {
    match too_long {
        None => Ok(partial),
        Some(bytes) => Err(RequestError::TooLong { bytes, partial }),
    }
}

/// How long answers are waited for.
struct Time {
    within: Duration,
    deadline: Instant,
}

impl Time {
    fn new(within: Duration) -> Self {
        Time { within, deadline: pending::deadline(within) }
    }
}
