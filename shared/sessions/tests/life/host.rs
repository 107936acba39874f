//! What every object here has of its platform beside its ports: the clock of the world, ids that are each given once, and a list of what was reported.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use uuid::Uuid;
use web::{Event, Host, Trace, Undone};

use crate::clock::Clock;

/// Lines that were reported, in all lives.
pub(crate) type Reports = Rc<RefCell<Vec<String>>>;

/// The host of one life of an object. All of it outlives the object.
#[derive(Clone, Default)]
pub(crate) struct TestHost {
    pub(crate) clock: Rc<Clock>,
    /// The id that was given last.
    pub(crate) ids: Rc<Cell<u128>>,
    pub(crate) reports: Reports,
}

impl Host for TestHost {
    fn now_ms(&self) -> i64 {
        self.clock.now.get()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        self.clock.sleep(ms.into())
    }

    fn wait_until(&self, _: impl Future<Output = Result<(), Undone>> + 'static) {}

    fn random_uuid(&self) -> Uuid {
        self.ids.set(self.ids.get() + 1);
        Uuid::from_u128(self.ids.get())
    }

    fn report(&self, event: &Event<'_>) {
        self.reports.borrow_mut().push(event.to_json());
    }

    fn trace(&self, _: &Trace<'_>) {}
}
