"""What a client may expect of any server, tried by Python's client. The twin of `node/expectations.mjs`: the same in the same order.

Talks in lines of JSON: each request {"do": name, ...} is answered by {"result"} or {"error"}.
"""

import asyncio
import base64
import json
import re
import sys
import time
import traceback

import engineio
import socketio

# By itself this client breaks off a session whose server sends more at once; any server does when it is fast.
engineio.payload.Payload.max_decode_packets = 500

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
PATIENCE = 10


async def until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        await asyncio.sleep(0.005)


class Socket:
    """A client in one namespace, and all that happened to it."""

    def __init__(self, client, namespace):
        self.client = client
        self.namespace = namespace
        self.got = []
        self.log = []
        self.answer = None
        client.on("*", self.hear, namespace)
        client.on("connect", lambda: self.log.append("connect"), namespace)
        client.on("connect_error", self.log.append, namespace)
        client.on("disconnect", self.log.append, namespace)

    def hear(self, event, *args):
        self.got.append((event, list(args)))
        return self.answer

    @property
    def id(self):
        return self.client.get_sid(self.namespace)

    async def take(self, name):
        """The first event of a name, which is then forgotten."""
        await until(f"the event {name}", lambda: any(event == name for event, _ in self.got))
        at = next(at for at, (event, _) in enumerate(self.got) if event == name)
        return self.got.pop(at)[1]

    async def emit(self, event, *args):
        await self.client.emit(event, args, self.namespace)

    async def ask(self, event, *args):
        """Emits, and gives the answer's arguments."""
        answered = asyncio.get_running_loop().create_future()
        await self.client.emit(event, args, self.namespace, lambda *answers: answered.set_result(list(answers)))
        return await asyncio.wait_for(answered, PATIENCE)


def client_in(*namespaces, **options):
    """A client, and its sockets; not connected yet."""
    options = {"reconnection_delay": 0.05, "reconnection_delay_max": 0.2, "randomization_factor": 0, **options}
    client = socketio.AsyncClient(handle_sigint=False, **options)
    return client, *(Socket(client, namespace) for namespace in namespaces)


def connect(client, url, transports, **options):
    return client.connect(url, transports=transports, wait_timeout=PATIENCE, **options)


async def leave(client):
    """Disconnects. If this client does so while a POST of its is under way, it says no goodbye, and waits for a poll that nobody ends."""
    await asyncio.wait_for(client.eio.queue.join(), PATIENCE)
    await client.disconnect()


class Member:
    """One of a pair: connected to the main namespace and to one that has rooms."""

    def __init__(self):
        self.client, self.main, self.room = client_in("/", "/test")

    @property
    def slot(self):
        """The worker that has the session, which its sid says."""
        return int.from_bytes(base64.urlsafe_b64decode(self.client.eio.sid)[3:5])


async def pair(url, transports, apart):
    """Two connected clients, on two workers if there are."""
    members = []
    for _ in range(30):
        member = Member()
        await connect(member.client, url, transports)
        members.append(member)
        if len(members) == 1 or (apart and member.slot == members[0].slot):
            continue
        for other in members[1:-1]:
            await leave(other.client)
        return members[0], member
    raise AssertionError("thirty clients came to one worker")


async def talk_in_room(a, b):
    """One that is in a room gets bytes from another worker, and one that left does not."""
    room = f"room of {a.main.id}"
    for one in (a, b):
        assert await one.room.ask("join", room) == [True]
    assert await a.room.ask("bytes", room, b"first") == [True]
    for one in (a, b):
        assert await one.room.take("bytes") == [{"before": 1}, b"first"]
    assert await b.room.ask("leave", room) == [True]
    assert await b.room.ask("bytes", room, b"second") == [True]
    assert await a.room.take("bytes") == [{"before": 1}, b"second"]
    assert b.room.got == [], "b left"


def deep(leaf):
    return [{"text": "ü\U0001f49c", "none": None, "list": [1, 2.5, {"leaf": leaf}], "empty": {}}, leaf, False]


async def it_connects_over_the_transport_it_wants(a, b, transports, **_):
    for member in (a, b):
        assert re.fullmatch(r"[\w-]{20}", member.main.id)
        assert member.main.id != member.room.id
        assert member.client.transport() == transports[-1]
        assert await member.main.take("auth") == [{}]


async def events_come_back(a, **_):
    await a.main.emit("said", *deep("x"))
    assert await a.main.take("said") == deep("x")
    await a.main.emit("nothing")
    assert await a.main.take("nothing") == []


async def events_keep_their_order(a, **_):
    for number in range(100):
        await a.main.emit("number", number)
    for number in range(100):
        assert await a.main.take("number") == [number]


async def bytes_come_back(a, **_):
    for leaf in (bytes([0, 1, 2, 255]), b"", bytes([7]) * 100_000):
        await a.main.emit("bytes", *deep(leaf))
        assert await a.main.take("bytes") == deep(leaf)


async def the_server_answers(a, **_):
    assert await a.main.ask("echo", *deep("x")) == deep("x")
    assert await a.main.ask("echo") == []
    numbers = range(50)
    assert await asyncio.gather(*(a.main.ask("echo", number) for number in numbers)) == [[number] for number in numbers]


async def the_client_answers(a, **_):
    a.main.answer = deep("x")[0]
    assert await a.main.ask("ask me", "what?") == [a.main.answer]
    assert await a.main.take("question") == [["what?"]]


async def answers_carry_bytes(a, **_):
    assert await a.main.ask("echo", *deep(b"bytes")) == deep(b"bytes")
    a.main.answer = deep(bytes([255, 254]))[0]
    assert await a.main.ask("ask me", "for bytes") == [a.main.answer]
    await a.main.take("question")


async def a_room_spans_the_workers(a, b, **_):
    await talk_in_room(a, b)


async def a_namespace_lets_in_who_has_the_words(url, transports, **_):
    client, socket = client_in("/guarded")
    await connect(client, url, transports, auth={"token": "open sesame"})
    assert await socket.take("auth") == [{"token": "open sesame"}]
    assert await socket.ask("echo", 1) == [1]
    await leave(client)


async def a_refused_client_is_told_why(url, transports, **_):
    for namespace, refusal in [
        ("/guarded", {"message": "not authorized", "data": {"hint": "say the words"}}),
        ("/unknown", {"message": "Invalid namespace"}),
    ]:
        client, socket = client_in(namespace)
        await connect(client, url, transports, auth={"token": "wrong"}, wait=False)
        await until("the refusal", lambda: socket.log)
        assert socket.log == [refusal], socket.log
        assert client.namespaces == {}
        await leave(client)


async def a_client_is_told_that_the_server_disconnects_it(url, transports, a, **_):
    for whole_session in (False, True):
        client, socket = client_in("/test", reconnection=False)
        await connect(client, url, transports)
        # See `leave`.
        await asyncio.wait_for(client.eio.queue.join(), PATIENCE)
        assert await a.room.ask("cluster", "disconnect", {"to": [socket.id]}, [whole_session]) == [True]
        await until("its end", lambda: len(socket.log) > 1 and client.eio.state == "disconnected")
        assert socket.log == ["connect", client.reason.SERVER_DISCONNECT], (whole_session, socket.log)


async def a_client_disconnects(url, transports, **_):
    client, socket = client_in("/")
    await connect(client, url, transports)
    await leave(client)
    assert socket.log == ["connect", client.reason.CLIENT_DISCONNECT], socket.log


EXPECTATIONS = [
    it_connects_over_the_transport_it_wants,
    events_come_back,
    events_keep_their_order,
    bytes_come_back,
    the_server_answers,
    the_client_answers,
    answers_carry_bytes,
    a_room_spans_the_workers,
    a_namespace_lets_in_who_has_the_words,
    a_refused_client_is_told_why,
    a_client_is_told_that_the_server_disconnects_it,
    a_client_disconnects,
]

pairs = {}


async def expect(transport, held, url, apart):
    """Tries all. The pair stays connected."""
    transports = TRANSPORTS[transport]
    a, b = pairs[transport] = await pair(url, transports, apart)
    for holds in EXPECTATIONS:
        await holds(url=url, transports=transports, a=a, b=b)
        held.append(holds.__name__.replace("_", " "))
    for member in (a, b):
        assert member.main.log == ["connect"], member.main.log
        member.was = {"slot": member.slot, "id": member.main.id, "sid": member.client.eio.sid}


async def back(transport, held, killed):
    """After a worker was killed."""
    a, b = pairs[transport]
    for member in (a, b):
        moved = member.was["slot"] == killed
        for one in (member.main, member.room) if moved else ():
            await until(f"it is back: {one.log}", lambda: len(one.log) > 1 and one.log[-1] == "connect")
            assert one.log[1] == member.client.reason.TRANSPORT_ERROR, one.log
        await until("it is connected", lambda: member.client.connected)
        assert moved or member.main.log == ["connect"], member.main.log
        assert (member.main.id == member.was["id"]) is not moved
        assert (member.client.eio.sid == member.was["sid"]) is not moved
        assert await member.main.ask("echo", "back") == ["back"]
        held.append("it comes back" if moved else "it stays")
    await talk_in_room(a, b)
    for member in (a, b):
        await leave(member.client)


async def over_each(act, **arguments):
    """For each transport: what held, up to the first that did not."""

    async def run(transport):
        report = {"held": [], "failed": None}
        try:
            await act(transport, report["held"], **arguments)
        except Exception:
            report["failed"] = traceback.format_exc()
        return report

    reports = await asyncio.gather(*map(run, TRANSPORTS))
    return dict(zip(TRANSPORTS, reports, strict=True))


async def main():
    actions = {"expect": expect, "back": back}
    loop = asyncio.get_running_loop()
    # In a thread: the clients live on meanwhile.
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        result = await over_each(actions[request.pop("do")], **request)
        print(json.dumps({"result": result}), flush=True)


asyncio.run(main())
