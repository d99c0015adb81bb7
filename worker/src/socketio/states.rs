//! What an application keeps for its handlers, found by its type.

use std::{
    any::{Any, TypeId},
    rc::Rc,
};

use rustc_hash::FxHashMap;

/// One value of each type.
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
