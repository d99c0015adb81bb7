//! What this server asks and orders the others, through the adapter (`wire.md` 4.3).
//!
//! It acts on its own sockets itself and at once: what it published comes back to it and is passed over.

use std::{rc::Rc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    Io,
    ack::{Answers, RequestError},
    namespaces::{Nsp, Present, TooMany},
    pending::{self, Pending},
};
use crate::{
    adapter::codec::{
        Flags, Packet, RemoteSocket, Request, RequestBody, ResponseBody, Room, Selector, WriteError, random_id,
    },
    bus::BusError,
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
    pub(super) fn server_side_emit(&self, nsp: &Rc<Nsp>, data: Data) -> Result<(), WriteError> {
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

    /// How many servers there are, this one among them.
    async fn count_servers(&self, nsp: &Rc<Nsp>, local: bool, time: &Time) -> Result<usize, BusError> {
        let Some(bus) = self.0.bus.get().filter(|_| !local) else { return Ok(1) };
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
        let servers = count(nsp.channels.request()).await?;
        Ok(usize::try_from(servers).unwrap_or(usize::MAX).max(1))
    }

    /// Asks the other servers something, under a new id.
    fn ask(&self, nsp: &Rc<Nsp>, body: RequestBody) -> Result<Asked, WriteError> {
        let id = random_id(&mut self.0.rng.borrow_mut());
        let (pending, answers) = Pending::new();
        if let Some(members) = self.0.state.borrow_mut().namespaces.of_mut(nsp) {
            members.pending.insert(id.clone(), pending);
        }
        let asked = Asked { io: self.clone(), namespace: nsp.clone(), id: id.clone(), answers };
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
        let expected = match self.count_servers(nsp, local, &time).await {
            Ok(servers) => servers,
            Err(source) => return Err(RequestError::Bus { source, partial: Answers { answers: found, expected: 1 } }),
        };
        let (mut missing, mut too_long) = (expected - 1, None);
        if missing > 0 {
            let mut asked = self.ask(nsp, body)?;
            while missing > 0 {
                match pending::next(&mut asked.answers, time.deadline).await {
                    Some(ResponseBody::TooLong { bytes }) => {
                        missing -= 1;
                        too_long = Some(bytes);
                    }
                    Some(answer) => missing -= usize::from(take(answer, &mut found)),
                    None => {
                        let partial = Answers { answers: found, expected };
                        return Err(RequestError::Timeout { within, partial });
                    }
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
        let text = |room: Room| room.text().map(str::to_owned);
        let found = self.all_rooms_here(&self.0.current(nsp)).into_iter().filter_map(text).collect();
        let found = self.gather(nsp, false, within, RequestBody::AllRooms, found, |answer, found| match answer {
            ResponseBody::Rooms(rooms) => {
                found.extend(rooms.into_iter().filter_map(text));
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
    pub(super) async fn server_side_emit_with_ack(
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
        let (mut expected, mut here) = self.deliver_with_ack(nsp, &packet, &target, flags);
        let (mut answers, mut unanswered, mut too_long) = (Vec::new(), 0, None);
        // The clients here have it already, whether or not the bus can be asked.
        let mut missing_servers = match self.count_servers(nsp, local, &time).await {
            Ok(servers) => servers - 1,
            Err(source) => return Err(RequestError::Bus { source, partial: Answers { answers, expected } }),
        };
        let mut asked = match missing_servers {
            0 => None,
            _ => Some(self.ask(nsp, RequestBody::Broadcast { packet, target, flags })?),
        };
        let first_is_enough = |answers: &[_]| flags.expect_single_response && !answers.is_empty();
        while (missing_servers > 0 || answers.len() + unanswered < expected) && !first_is_enough(&answers) {
            let elsewhere = async {
                match &mut asked {
                    Some(asked) => asked.answers.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(answer) = here.next() => answers.push(answer),
                Some(body) = elsewhere => match body {
                    ResponseBody::ClientCount(clients) => {
                        expected = expected.saturating_add(usize::try_from(clients).unwrap_or(usize::MAX));
                        missing_servers = missing_servers.saturating_sub(1);
                    }
                    ResponseBody::Ack(answer) => answers.push(answer),
                    ResponseBody::TooLong { bytes } => {
                        unanswered += 1;
                        too_long = Some(bytes);
                    }
                    _other_kind => {}
                },
                () = tokio::time::sleep_until(time.deadline) => {
                    return Err(RequestError::Timeout { within, partial: Answers { answers, expected } });
                }
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

/// A request under way. Dropped, it no longer takes answers.
struct Asked {
    io: Io,
    namespace: Rc<Nsp>,
    id: String,
    answers: mpsc::UnboundedReceiver<ResponseBody>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(members) = self.io.0.state.borrow_mut().namespaces.of_mut(&self.namespace) {
            members.pending.remove(&self.id);
        }
    }
}
