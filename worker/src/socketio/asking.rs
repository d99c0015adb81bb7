//! What this server asks and orders the others, through the adapter (`wire.md` 4.3).
//!
//! It acts on its own sockets itself and at once: what it published comes back to it and is passed over.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    Io,
    ack::{Answers, RequestError},
    pending::{self, Pending},
};
use crate::{
    adapter::codec::{
        Flags, Packet, RemoteSocket, Request, RequestBody, ResponseBody, Room, Selector, WriteError, random_id,
    },
    bus::BusError,
    protocol::{Data, PacketType, membership::NamespaceIndex},
};

impl Io {
    /// Makes sockets join or leave rooms, or disconnects them: on the other servers, unless it is `local`, and here at once.
    pub(super) fn order(&self, namespace: NamespaceIndex, body: RequestBody, local: bool) -> Result<(), WriteError> {
        let request = self.request(namespace, None, body);
        // First elsewhere: a handler that runs here may change who is meant.
        let published = if local { Ok(()) } else { self.publish_request(namespace, &request) };
        self.carry_out(namespace, request);
        published
    }

    /// Publishes an event for the other servers' own handlers.
    pub(super) fn server_side_emit(&self, namespace: NamespaceIndex, data: Data) -> Result<(), WriteError> {
        self.publish_request(namespace, &self.request(namespace, None, RequestBody::ServerSideEmit { data }))
    }

    fn request(&self, namespace: NamespaceIndex, request_id: Option<String>, body: RequestBody) -> Request {
        Request { uid: Some(self.0.declared(namespace).uid.clone()), request_id, body }
    }

    fn publish_request(&self, namespace: NamespaceIndex, request: &Request) -> Result<(), WriteError> {
        let message = request.encode()?;
        if let Some(bus) = self.0.bus.get() {
            bus.publish(self.0.declared(namespace).channels.request(), &message);
            self.0.engine.schedule_flush();
        }
        Ok(())
    }

    /// How many servers there are, this one among them.
    async fn count_servers(&self, namespace: NamespaceIndex, local: bool, time: &Time) -> Result<usize, BusError> {
        let asked = match self.0.bus.get().filter(|_| !local) {
            Some(bus) => bus.count_subscribers(self.0.declared(namespace).channels.request()),
            None => return Ok(1),
        };
        self.0.engine.schedule_flush();
        let counted = timeout_at(time.deadline, asked).await.map_err(|_elapsed| BusError::Timeout(time.within))?;
        Ok(usize::try_from(counted?).unwrap_or(usize::MAX).max(1))
    }

    /// Asks the other servers something, under a new id.
    fn ask(&self, namespace: NamespaceIndex, body: RequestBody) -> Result<Asked, WriteError> {
        let id = random_id(&mut self.0.rng.borrow_mut());
        let (pending, answers) = Pending::new();
        self.0.state.borrow_mut().namespaces[usize::from(namespace)].pending.insert(id.clone(), pending);
        let asked = Asked { io: self.clone(), namespace, id: id.clone(), answers };
        self.publish_request(namespace, &self.request(namespace, Some(id), body))?;
        Ok(asked)
    }

    /// Asks all other servers and adds each one's answer to what this one knows. `take` says whether it was such an answer.
    async fn gather<T>(
        &self,
        namespace: NamespaceIndex,
        local: bool,
        within: Duration,
        body: RequestBody,
        mut found: Vec<T>,
        take: impl Fn(ResponseBody, &mut Vec<T>) -> bool,
    ) -> Result<Answers<T>, RequestError<T>> {
        let time = Time::new(within);
        let expected = match self.count_servers(namespace, local, &time).await {
            Ok(servers) => servers,
            Err(source) => return Err(RequestError::Bus { source, partial: Answers { answers: found, expected: 1 } }),
        };
        let (mut missing, mut too_long) = (expected - 1, None);
        if missing > 0 {
            let mut asked = self.ask(namespace, body)?;
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
        namespace: NamespaceIndex,
        target: Selector,
        local: bool,
        within: Duration,
    ) -> Result<Answers<RemoteSocket>, RequestError<RemoteSocket>> {
        let found = self.fetch_here(namespace, &target);
        self.gather(namespace, local, within, RequestBody::Fetch { target }, found, |answer, found| match answer {
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
        namespace: NamespaceIndex,
        within: Duration,
    ) -> Result<Answers<String>, RequestError<String>> {
        let text = |room: Room| room.text().map(str::to_owned);
        let found = self.all_rooms_here(namespace).into_iter().filter_map(text).collect();
        let found = self.gather(namespace, false, within, RequestBody::AllRooms, found, |answer, found| match answer {
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
        namespace: NamespaceIndex,
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
        let answers = self.gather(namespace, false, within, body, Vec::new(), take).await;
        answers.map(others).map_err(|error| error.map_partial(others))
    }

    /// See [`super::Broadcast::emit_with_ack`].
    pub(super) async fn broadcast_with_ack(
        &self,
        namespace: NamespaceIndex,
        target: Selector,
        mut flags: Flags,
        local: bool,
        data: Data,
        within: Duration,
    ) -> Result<Answers<Option<Data>>, RequestError<Option<Data>>> {
        let time = Time::new(within);
        flags.timeout_ms = Some(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let nsp = self.0.declared(namespace).name.to_string();
        let packet = Packet { kind: PacketType::Event, nsp, id: None, data: Some(data) };
        let (mut expected, mut here) = self.deliver_with_ack(namespace, &packet, &target, flags);
        let (mut answers, mut unanswered, mut too_long) = (Vec::new(), 0, None);
        // The clients here have it already, whether or not the bus can be asked.
        let mut missing_servers = match self.count_servers(namespace, local, &time).await {
            Ok(servers) => servers - 1,
            Err(source) => return Err(RequestError::Bus { source, partial: Answers { answers, expected } }),
        };
        let mut asked = match missing_servers {
            0 => None,
            _ => Some(self.ask(namespace, RequestBody::Broadcast { packet, target, flags })?),
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
    namespace: NamespaceIndex,
    id: String,
    answers: mpsc::UnboundedReceiver<ResponseBody>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.io.0.state.borrow_mut().namespaces[usize::from(self.namespace)].pending.remove(&self.id);
    }
}
