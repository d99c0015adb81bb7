//! Reads a JSON object key by key, so that a mistake is told with the key it is in.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::OrderError;
use crate::config::nearest;

/// An object whose known keys are taken out one by one.
pub(super) struct Fields<'a> {
    values: BTreeMap<String, &'a RawValue>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Reads an object's text. Of a key that is there twice the last counts, as in JavaScript.
    pub fn read(text: &'a str) -> Result<Self, OrderError> {
        let values = serde_json::from_str(text).map_err(|error| OrderError::NoObject(error.to_string()))?;
        Ok(Fields { values, known: Vec::new() })
    }

    /// A key's value; `None` where it is not there.
    pub fn take<T: Deserialize<'a>>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, OrderError> {
        self.known.push(key);
        let Some(value) = self.values.remove(key) else { return Ok(None) };
        serde_json::from_str(value.get()).map(Some).map_err(|_| OrderError::Shape { key, expected })
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), OrderError> {
        let Some(key) = self.values.into_keys().next() else { return Ok(()) };
        let way_out = match nearest(&key, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", self.known.join(", ")),
        };
        Err(OrderError::UnknownKey { key, way_out })
    }
}
