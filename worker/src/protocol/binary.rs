//! Bytes inside arguments.

use std::{cell::RefCell, fmt, ops::Deref};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

/// Bytes in an argument of an event or ack: a client gets them as a buffer, and sends a buffer to become this.
///
/// Where no bytes can travel (plain JSON between servers), they take the form in which Node writes a buffer as JSON.
///
/// ```
/// # use roomd_worker::socketio as roomd;
/// use roomd::{App, Args, Binary, Socket};
///
/// let app = App::new().namespace("/", |namespace| {
///     // socket.emit("picture", "a cat", new Uint8Array(…))
///     namespace.on("picture", async |socket: Socket, Args((title, picture)): Args<(String, Binary)>| {
///         println!("{title}: {} bytes", picture.len());
///         socket.broadcast().emit("picture", (title, picture))
///     })
/// });
/// # assert!(app.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Binary(pub Bytes);

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

thread_local! {
    /// Attachments of the arguments that this thread encodes or decodes right now. serde hands no context to the values
    /// it visits, hence this one.
    static ATTACHMENTS: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Makes `attachments` the current ones; the former come back at the end, also when a value panics.
struct Scope(Option<Vec<Bytes>>);

impl Scope {
    fn enter(attachments: Vec<Bytes>) -> Self {
        Self(ATTACHMENTS.replace(Some(attachments)))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        ATTACHMENTS.set(self.0.take());
    }
}

/// Runs `encode`, and gives what it left as attachments.
pub(super) fn collecting<T>(encode: impl FnOnce() -> T) -> (T, Vec<Bytes>) {
    let _scope = Scope::enter(Vec::new());
    let result = encode();
    (result, ATTACHMENTS.take().unwrap_or_default())
}

/// Runs `decode`, in which placeholders stand for `attachments`.
pub(super) fn resolving<T>(attachments: &[Bytes], decode: impl FnOnce() -> T) -> T {
    if attachments.is_empty() {
        return decode();
    }
    let _scope = Scope::enter(attachments.to_vec());
    decode()
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = ATTACHMENTS.with_borrow_mut(|attachments| {
            let attachments = attachments.as_mut()?;
            attachments.push(self.0.clone());
            Some(attachments.len() - 1)
        });
        let mut map = serializer.serialize_map(Some(2))?;
        if let Some(index) = index {
            map.serialize_entry("_placeholder", &true)?;
            map.serialize_entry("num", &index)?;
        } else {
            map.serialize_entry("type", "Buffer")?;
            map.serialize_entry("data", &*self.0)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BinaryVisitor)
    }
}

struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Binary, A::Error> {
        let mut placeholder = false;
        let mut index = None;
        let mut bytes = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "_placeholder" => placeholder = map.next_value()?,
                "num" => index = Some(map.next_value::<usize>()?),
                "data" => bytes = Some(map.next_value::<Vec<u8>>()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if placeholder {
            let found = ATTACHMENTS.with_borrow(|attachments| attachments.as_ref()?.get(index?).cloned());
            return found.map(Binary).ok_or_else(|| A::Error::custom("no such attachment"));
        }
        bytes.map(Binary::from).ok_or_else(|| A::Error::custom("an object, expected bytes"))
    }
}
