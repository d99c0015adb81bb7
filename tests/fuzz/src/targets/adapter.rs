//! Messages between servers.

use bytes::Bytes;
use roomd_wire::{Generation, Slot, WorkerId};
use roomd_worker::{
    adapter::{
        codec::{Broadcast, Request, Response, encode_broadcast, sender},
        envelope,
    },
    protocol::{Data, Encoded, Parser},
};

/// A broadcast that was read reads the same when it is sent on; debug builds also check that no Node server ends over it.
pub fn broadcast(bytes: &[u8]) {
    let message = Bytes::copy_from_slice(bytes);
    let Ok(broadcast) = Broadcast::decode(&message) else { return };
    assert_eq!(sender(&message).unwrap_or_default(), broadcast.uid);
    let _ = broadcast.packet.encode(Parser::Json, Some(u64::MAX));
    let _ = broadcast.packet.encode(Parser::Msgpack, None);
    let Some(packet) = broadcast.packet.clone().into_event(Parser::Msgpack) else { return };
    let data = packet.data.as_ref().unwrap();
    let Ok(again) = encode_broadcast(&broadcast.uid, &packet.nsp, data, &broadcast.target, broadcast.flags) else {
        return;
    };
    let again = Broadcast::decode(&again.into()).unwrap();
    assert_eq!((again.target, again.flags, &again.packet.nsp), (broadcast.target, broadcast.flags, &packet.nsp));
    assert_eq!(again.packet.data.as_ref().map(Data::elements).map(Iterator::count), Some(data.elements().count()));
}

/// A request that was read reads the same when it is written again.
pub fn request(bytes: &[u8]) {
    let Ok(request) = Request::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let Ok(message) = request.encode() else { return };
    let message = Bytes::from(message);
    let again = Request::decode(&message).unwrap();
    assert_eq!(again.encode().unwrap(), message);
}

/// A response that was read reads the same when it is written again.
pub fn response(bytes: &[u8]) {
    let Ok(response) = Response::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let Ok(message) = response.encode() else { return };
    let message = Bytes::from(message);
    let again = Response::decode(&message).unwrap();
    assert_eq!(again.encode().unwrap(), message);
}

/// An envelope that was read is what its parts make.
pub fn envelope(bytes: &[u8]) {
    let message = Bytes::copy_from_slice(bytes);
    let again: Bytes;
    let Ok(read) = envelope::decode(&message, Parser::Json) else { return };
    assert!(envelope::is_envelope(&message));
    let parts: usize = read.packet.parts().map(|part| part.payload.len()).sum();
    assert!(parts <= message.len());
    again = envelope::encode(read.origin, read.sequence, read.volatile, &read.rooms, &read.except, &read.packet)
        .unwrap()
        .into();
    assert_eq!(envelope::decode(&again, Parser::Json), Ok(read));
}

/// Some envelopes.
pub fn envelope_seeds() -> Vec<Vec<u8>> {
    let origin = WorkerId { slot: Slot(3), generation: Generation(70_000) };
    let packet = Encoded::event("/n", None, &Data::event("message", "hello").unwrap());
    let attached = Data::new("[{\"_placeholder\":true,\"num\":0}]".into(), vec![Bytes::from(vec![7; 200])]).unwrap();
    let attached = Encoded::ack("/", 7, &attached);
    [(&[][..], &[][..], &packet), (&["a", "b"], &[], &packet), (&["\u{e9}"], &["a", ""], &attached)]
        .map(|(rooms, except, packet)| envelope::encode(origin, 5, true, rooms, except, packet).unwrap())
        .into()
}
