//! What the test application is told of a client.

use serde_json::Value;

use crate::http::{Connection, polling};

/// Joins a polling session to the test application's `/test`, and gives its handshake as the application has it. The connection
/// must be one that stays.
pub fn told_handshake(connection: &mut Connection, sid: &str) -> Value {
    let target = polling(sid);
    assert_eq!(connection.post(&target, "40/test,").body, "ok");
    let joined = connection.get(&target).body;
    let joined: Value = serde_json::from_str(joined.strip_prefix("40/test,").expect(&joined)).unwrap();
    assert_eq!(connection.post(&target, r#"42/test,1["cluster","fetch",{"local":true},[]]"#).body, "ok");
    let fetched = connection.get(&target).body;
    let fetched: Value = serde_json::from_str(fetched.strip_prefix("43/test,1").expect(&fetched)).unwrap();
    let sockets = fetched[0]["answers"].as_array().unwrap();
    let own = sockets.iter().find(|socket| socket["id"] == joined["sid"]).unwrap_or_else(|| panic!("{fetched}"));
    own["handshake"].clone()
}
