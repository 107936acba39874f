//! A setting that takes effect while the server runs.

use std::sync::{PoisonError, RwLock};

/// A value that is read by many and replaced now and then.
#[derive(Debug, Default)]
pub(crate) struct Live<T>(RwLock<T>);

impl<T> Live<T> {
    /// A setting with this value.
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Another value from now on.
    pub(crate) fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Asks the value something.
    pub(crate) fn with<R>(&self, ask: impl FnOnce(&T) -> R) -> R {
        ask(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Copy> Live<T> {
    /// The value.
    pub(crate) fn get(&self) -> T {
        self.with(|value| *value)
    }
}
