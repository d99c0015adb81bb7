//! Draws conversations: mostly what a client might do, in orders in which none would, and now and then what no client does.

use fastrand::Rng;

use super::case::{Case, Frame, Number, Request, Step};
use crate::differential::{allowed, recorder};

/// A conversation.
pub fn case(rng: &mut Rng) -> Case {
    let mut drawn =
        Drawn { rng, steps: Vec::new(), sessions: Vec::new(), sockets: Vec::new(), idle: Vec::new(), next: 0 };
    drawn.begin();
    for _ in 0..drawn.rng.usize(2..12) {
        drawn.step();
    }
    drawn.end();
    Case(drawn.steps)
}

struct Drawn<'a> {
    rng: &'a mut Rng,
    steps: Vec<Step>,
    /// Sessions that were opened by polling.
    sessions: Vec<Number>,
    /// WebSockets.
    sockets: Vec<Number>,
    /// Connections on which an answer came or will come at once.
    idle: Vec<Number>,
    next: Number,
}

impl Drawn<'_> {
    fn begin(&mut self) {
        let sessions = if self.rng.u8(..6) == 0 { 2 } else { 1 };
        for _ in 0..sessions {
            self.session();
        }
    }

    fn session(&mut self) {
        let number = if self.rng.bool() {
            let number = self.open("GET", "EIO=4&transport=polling".into(), None);
            self.sessions.push(number);
            number
        } else {
            self.websocket(recorder::WS.into())
        };
        if self.rng.u8(..5) != 0 {
            self.say(number, "40".into());
            if self.sessions.contains(&number) && self.rng.bool() {
                self.poll(number);
            }
        }
    }

    /// What shows whether a session lives on, and what it still had to say.
    fn end(&mut self) {
        for number in self.sessions.clone() {
            self.post(number, b"42[\"the end\"]".to_vec());
            self.poll(number);
        }
        for number in self.sockets.clone() {
            self.frames(number, vec![text("42[\"the end\"]")]);
        }
    }

    fn step(&mut self) {
        let session = self.rng.choice(&self.sessions).copied();
        let socket = self.rng.choice(&self.sockets).copied();
        match (self.rng.u8(..100), session, socket) {
            (..12, Some(session), _) => self.poll(session),
            // Only beside another poll: how much the first answer would hold is the server's affair.
            (12..14, Some(session), _) => {
                self.poll(session);
                let query = self.query(session);
                self.open("GET", query, None);
            }
            (14..44, Some(session), _) => {
                let payload = payload(self.rng);
                self.post(session, payload);
            }
            (44..54, Some(session), _) => {
                let number = self.websocket(format!("EIO=4&transport=websocket&sid=SID{session}."));
                if self.rng.u8(..4) != 0 {
                    self.frames(number, vec![text("2probe")]);
                    if self.rng.bool() {
                        self.frames(number, vec![text("5")]);
                    }
                }
            }
            (54..84, _, Some(socket)) => {
                let frames = frames(self.rng);
                self.frames(socket, frames);
            }
            (84..87, _, _) => {
                let number = self.rng.u32(..self.next);
                self.steps.push(Step::Close { number });
            }
            (87..90, _, _) => self.session(),
            (90..94, _, _) => {
                let (method, query, body) = self.odd_request();
                self.open(method, query, body);
            }
            (_, Some(session), None) => {
                let packet = packet(self.rng);
                self.say(session, packet);
            }
            (_, _, Some(socket)) => {
                let packet = packet(self.rng);
                self.say(socket, packet);
            }
            _ => self.session(),
        }
    }

    /// Says a text packet the way that a session has.
    fn say(&mut self, number: Number, packet: String) {
        if self.sockets.contains(&number) {
            self.frames(number, vec![text(&packet)]);
        } else {
            self.post(number, packet.into_bytes());
        }
    }

    fn poll(&mut self, session: Number) {
        self.steps.push(Step::Poll { session });
    }

    fn post(&mut self, session: Number, body: Vec<u8>) {
        let query = self.query(session);
        let number = self.rng.choice(&self.idle).copied().filter(|_| self.rng.u8(..4) == 0);
        let cut = self.cut(200);
        let request = Request { method: "POST".into(), query, headers: content_type(), body: Some(body), cut };
        match number {
            Some(number) if !request.query.contains("transport=websocket") => {
                self.steps.push(Step::Again { number, request });
            }
            _ => {
                let number = self.push_open(request);
                self.idle.push(number);
            }
        }
    }

    fn query(&mut self, session: Number) -> String {
        let plain = format!("EIO=4&transport=polling&sid=SID{session}.");
        match self.rng.u8(..60) {
            0 => format!("sid=SID{session}.&transport=polling&EIO=4"),
            1 => format!("EIO=4&transport=polling&sid=x&sid=SID{session}.&t=abc"),
            2 => format!("xsid=AAAAAAAAAAAAAAAAAAAA&EIO=3&EIO=4&transport=%70olling&sid=SID{session}."),
            3 => format!("EIO=3&transport=polling&sid=SID{session}."),
            4 => format!("EIO=4&transport=websocket&sid=SID{session}."),
            5 => mutated(self.rng, plain.as_bytes())
                .iter()
                .filter(|byte| byte.is_ascii_alphanumeric() || b"&=%._-+".contains(byte))
                .map(|byte| char::from(*byte))
                .collect(),
            _ => plain,
        }
    }

    fn odd_request(&mut self) -> (&'static str, String, Option<Vec<u8>>) {
        let session = self.rng.choice(&self.sessions).map_or("nobody".into(), |session| format!("SID{session}."));
        let query = *self
            .rng
            .choice(&[
                "",
                "EIO=4",
                "transport=polling",
                "EIO=4&transport=",
                "EIO=4&transport=polling",
                "EIO=3&transport=polling",
                "EIO=4&transport=websocket",
                "EIO=4&transport=webtransport",
                "EIO=4&transport=polling&sid=",
                "EIO=4&transport=polling&sid=nobody",
                "EIO=4&transport=polling&sid=S",
                "EIO=4&transport=websocket&sid=S",
                "EIO=4&transport=polling&sid=S&transport=websocket",
                "EIO=4&transport=polling&sid=S&sid=nobody",
            ])
            .unwrap();
        let query = query.replace("sid=S", &format!("sid={session}"));
        let method = *self.rng.choice(&["GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]).unwrap();
        let body = matches!(method, "POST" | "PUT" | "PATCH").then(|| payload(self.rng));
        (method, query, body)
    }

    fn websocket(&mut self, query: String) -> Number {
        let headers = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ];
        let headers = headers.map(str::to_owned).into();
        let number = self.push_open(Request { method: "GET".into(), query, headers, ..Request::default() });
        self.sockets.push(number);
        number
    }

    fn frames(&mut self, number: Number, frames: Vec<Frame>) {
        let cut = self.cut(100);
        self.steps.push(Step::Frames { number, frames, cut });
    }

    fn open(&mut self, method: &str, query: String, body: Option<Vec<u8>>) -> Number {
        let headers = body.as_ref().map(|_| content_type()).unwrap_or_default();
        let cut = self.cut(150);
        self.push_open(Request { method: method.into(), query, headers, body, cut })
    }

    fn push_open(&mut self, request: Request) -> Number {
        let number = self.next;
        self.next += 1;
        self.steps.push(Step::Open { number, request });
        number
    }

    fn cut(&mut self, below: usize) -> Option<usize> {
        (self.rng.u8(..8) == 0).then(|| self.rng.usize(1..below))
    }
}

fn content_type() -> Vec<String> {
    vec!["Content-Type: text/plain;charset=UTF-8".into()]
}

fn text(text: &str) -> Frame {
    Frame { head: 0x81, payload: text.into() }
}

/// The body of a POST.
fn payload(rng: &mut Rng) -> Vec<u8> {
    let mut body = match rng.u8(..10) {
        0..=4 => packet(rng).into_bytes(),
        5..=7 => {
            // The order of what is harmless is the same on both, wherever it came from.
            let packets: Vec<_> = (0..rng.usize(1..5)).map(|_| harmless(rng)).collect();
            packets.join("\u{1e}").into_bytes()
        }
        8 => {
            let count = rng.usize(1..4);
            let mut packets = vec![binary_event(rng, count)];
            let given = if rng.u8(..4) == 0 { rng.usize(..count) } else { count };
            packets.extend((0..given).map(|_| base64(rng)));
            packets.join("\u{1e}").into_bytes()
        }
        _ => base64(rng).into_bytes(),
    };
    if rng.u8(..6) == 0 {
        // Alone: where several packets come together, the official server handles the first ones after the last (see `allowed`).
        let packet = packet(rng);
        body = mutated(rng, packet.as_bytes());
        body.retain(|byte| *byte != 0x1e);
    }
    body
}

/// One or several frames of a client.
fn frames(rng: &mut Rng) -> Vec<Frame> {
    match rng.u8(..20) {
        0..=8 => vec![text(&packet(rng))],
        9..=11 => (0..rng.usize(1..4)).map(|_| text(&harmless(rng))).collect(),
        12..=13 => {
            let count = rng.usize(1..4);
            let mut frames = vec![text(&binary_event(rng, count))];
            let given = if rng.u8(..4) == 0 { rng.usize(..count) } else { count };
            frames.extend((0..given).map(|_| match rng.u8(..5) {
                0 => text(&base64(rng)),
                _ => Frame { head: 0x82, payload: bytes(rng) },
            }));
            frames
        }
        14 => vec![Frame { head: 0x82, payload: bytes(rng) }],
        15 => vec![text(&base64(rng))],
        16 => {
            // In fragments, with a ping between them.
            let packet = harmless(rng).into_bytes();
            let at = rng.usize(..=packet.len());
            let mut frames = vec![Frame { head: 0x01, payload: packet[..at].into() }];
            if rng.bool() {
                frames.push(Frame { head: 0x89, payload: bytes(rng) });
            }
            frames.push(Frame { head: 0x80, payload: packet[at..].into() });
            frames
        }
        17 => {
            let packet = packet(rng);
            vec![text(&String::from_utf8_lossy(&mutated(rng, packet.as_bytes())))]
        }
        18 => {
            let head = *rng.choice(&[0x89, 0x8a, 0x88, 0x80, 0x00, 0x09, 0xc1, 0x83, 0x8b, 0x81]).unwrap();
            let mut payload = bytes(rng);
            if head == 0x88 {
                let code = *rng.choice(&[1000u16, 1001, 1005, 3000, 4999, 5000, 999, 1002]).unwrap();
                payload = [&code.to_be_bytes(), &b"why"[..]].concat();
                payload.truncate(rng.usize(..6));
            }
            vec![Frame { head, payload }]
        }
        _ => vec![Frame { head: 0x81, payload: vec![b'4'; rng.usize(LIMIT - 2..LIMIT + 3)] }],
    }
}

/// The largest message that both servers take.
pub const LIMIT: usize = 2000;

/// Any packet of Engine.IO as text.
fn packet(rng: &mut Rng) -> String {
    match rng.u8(..40) {
        0..=17 => harmless(rng),
        18..=23 => format!("4{}", connect(rng)),
        24..=26 => format!("41{}", *rng.choice(&["", "/guarded,", "/unknown,", "/guarded"]).unwrap()),
        27 => {
            let count = rng.usize(..4);
            binary_event(rng, count)
        }
        28..=29 => format!("43{}{}{}", namespace(rng), rng.u8(..3), arguments(rng)),
        30 => format!("46{}-{}{}{}", rng.u8(..4), namespace(rng), rng.u8(..3), arguments(rng)),
        31 => "2".into(),
        32 => "2probe".into(),
        33 => "5".into(),
        34 => (*rng
            .choice(&["1", "6", "0", "3probe", "7", "", "4", "b", "x", "48", "44{\"message\":\"x\"}", "4\u{e9}"])
            .unwrap())
        .into(),
        35..=36 => format!(
            "42{}{}",
            namespace(rng),
            *rng.choice(&["[\"kick me\"]", "[\"close me\"]", "1[\"ask me\",1]", "2[\"ask me\"]"]).unwrap()
        ),
        _ => {
            let name = *rng
                .choice(&[
                    "\"connect\"",
                    "\"disconnecting\"",
                    "null",
                    "true",
                    "[]",
                    "",
                    "1",
                    "\"\\u0063onnect\"",
                    "-1.5",
                    "\"__proto__\"",
                    "\"\"",
                ])
                .unwrap();
            format!("42{}{}[{name}]", namespace(rng), *rng.choice(&["", "5", "007"]).unwrap())
        }
    }
}

/// A packet after which a session lives on.
fn harmless(rng: &mut Rng) -> String {
    match rng.u8(..8) {
        0 => "3".into(),
        1 => format!("43{}{}", rng.u8(..100), arguments(rng)),
        2..=4 => format!("42{}{}", rng.u16(..), event(rng)),
        _ => format!("42{}", event(rng)),
    }
}

fn namespace(rng: &mut Rng) -> &'static str {
    rng.choice(&["", "", "", "", "/,", "/guarded,", "/unknown,", "/guarded?x=1,"]).unwrap()
}

fn connect(rng: &mut Rng) -> String {
    let auth = *rng
        .choice(&["", "", "{}", "{\"token\":\"open sesame\"}", "{\"token\":1e3}", "[]", "null", "\"x\"", "{\"token\""])
        .unwrap();
    match rng.u8(..3) {
        0 => "0/guarded,{\"token\":\"open sesame\"}".into(),
        _ => format!("0{}{auth}", namespace(rng)),
    }
}

fn event(rng: &mut Rng) -> String {
    let arguments = arguments(rng);
    let comma = if arguments == "[]" { "" } else { "," };
    format!("[\"e\"{comma}{}", &arguments[1..])
}

fn arguments(rng: &mut Rng) -> String {
    let values: Vec<_> = (0..rng.usize(..4)).map(|_| value(rng, 3)).collect();
    format!("[{}]", values.join(","))
}

fn value(rng: &mut Rng, depth: u8) -> String {
    const SCALARS: [&str; 26] = [
        "0",
        "-0",
        "1",
        "-1.5",
        "1e3",
        "1E-7",
        "123456789012345678901234567890",
        "9007199254740993",
        "0.1",
        "true",
        "false",
        "null",
        "\"\"",
        "\"text\"",
        "\"\\u0000\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\u{1f600}\u{e9}\u{2028}\"",
        "\"\\\"\\\\\\/\\b\"",
        "{}",
        "[]",
        "{\"a\":1,\"a\":2}",
        "{\"2\":1,\"1\":2}",
        "{\"_placeholder\":true,\"num\":0}",
        "{\"_placeholder\":1}",
        "{\"toJSON\":1}",
        "\"\u{feff}\"",
    ];
    match rng.u8(..6) {
        0 if depth > 0 => format!("[{},{}]", value(rng, depth - 1), value(rng, depth - 1)),
        1 if depth > 0 => format!("{{\"k\":{},\"\":{}}}", value(rng, depth - 1), value(rng, depth - 1)),
        2 if depth > 2 && rng.u8(..20) == 0 => format!("{}{}", "[".repeat(100), "]".repeat(100)),
        _ => (*rng.choice(&SCALARS).unwrap()).into(),
    }
}

fn binary_event(rng: &mut Rng, attachments: usize) -> String {
    let mut order: Vec<usize> = (0..attachments).collect();
    rng.shuffle(&mut order);
    if rng.u8(..10) == 0 {
        order.push(rng.usize(..12));
    }
    let values: Vec<_> = order.iter().map(|index| format!(",{{\"_placeholder\":true,\"num\":{index}}}")).collect();
    let (namespace, id) = (if rng.u8(..6) == 0 { namespace(rng) } else { "" }, if rng.bool() { "7" } else { "" });
    format!("45{attachments}-{namespace}{id}[\"bytes\"{}]", values.concat())
}

fn base64(rng: &mut Rng) -> String {
    (*rng.choice(&["bAQL/", "b", "bAQ", "bAQI", "bA", "b====", "bAQ I=", "b-_-_", "bAQIDé"]).unwrap()).into()
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let length = *rng.choice(&[0, 1, 3, 20, 125, 126, 300]).unwrap();
    (0..length).map(|_| rng.u8(..)).collect()
}

/// Bytes near to these, but none that are read otherwise by intention.
fn mutated(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    loop {
        let near = near(rng, bytes);
        if !allowed::is_read_otherwise(&near) {
            return near;
        }
    }
}

/// Bytes of which a few have been changed, left out, doubled or put in.
fn near(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=bytes.len());
        let odd = *rng.choice(b"0123456789b/,-[]{}\":\\ \x1e\x00\xff\xc3e+.t").unwrap();
        match rng.u8(..4) {
            0 => bytes.insert(at, odd),
            1 if at < bytes.len() => bytes[at] = odd,
            2 if at < bytes.len() => _ = bytes.remove(at),
            3 if at < bytes.len() => {
                let end = rng.usize(at..bytes.len().min(at + 10));
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}
