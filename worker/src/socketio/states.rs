//! What an application keeps for its handlers, found by its type.

use std::{
    any::{Any, TypeId},
    rc::Rc,
};

use rustc_hash::FxHashMap;

/// One value of each type: what [`App::state`](super::App::state) was given. Passed on to the arguments that an argument of an
/// application's own is made of.
///
/// ```
/// # use roomd_worker::socketio::*;
/// # use roomd_worker::socketio::{Rejection, call::{Call, Kind}};
/// /// An argument that needs a state: found missing at the start, like the state itself.
/// struct Limit(u32);
///
/// impl<K: Kind> FromCall<K> for Limit {
///     fn from_call(call: &K::Call<'_>) -> Result<Self, Rejection> {
///         <State<u32> as FromCall<K>>::from_call(call).map(|limit| Limit(*limit))
///     }
///
///     fn missing(states: &States) -> Option<&'static str> {
///         <State<u32> as FromCall<K>>::missing(states)
///     }
/// }
///
/// let app = App::new().on_start(async |Limit(limit): Limit| println!("{limit}"));
/// assert!(app.check().is_err());
/// ```
#[derive(Default)]
pub struct States(FxHashMap<TypeId, Rc<dyn Any>>);

impl States {
    /// Keeps a value; false if there is one of its type already.
    pub(super) fn insert<T: 'static>(&mut self, value: T) -> bool {
        self.0.insert(TypeId::of::<T>(), Rc::new(value)).is_none()
    }

    /// The value of this type.
    pub(super) fn get<T: 'static>(&self) -> Option<Rc<T>> {
        self.0.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }
}
