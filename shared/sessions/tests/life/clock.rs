//! A clock that only goes when everybody waits, and the tasks that run by it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Time, and whoever waits for it.
#[derive(Default)]
pub(crate) struct Clock {
    pub(crate) now: Cell<i64>,
    waiting: RefCell<BTreeMap<(i64, u64), Waker>>,
    next: Cell<u64>,
    /// After so many more points at which the object waits for others it dies.
    pub(crate) fuse: Cell<Option<u64>>,
    pub(crate) dead: Rc<Cell<bool>>,
}

struct Sleep {
    clock: Rc<Clock>,
    until: i64,
    id: u64,
    has_waited: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Whoever sleeps lets others have their turn, however short the sleep is.
        let has_waited = std::mem::replace(&mut self.has_waited, true);
        if self.clock.now.get() >= self.until {
            if has_waited {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.clock.waiting.borrow_mut().insert((self.until, self.id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.waiting.borrow_mut().remove(&(self.until, self.id));
    }
}

impl Clock {
    /// The object waits for somebody else here, and may die.
    pub(crate) fn point(&self) -> impl Future<Output = ()> {
        std::future::poll_fn(|_| {
            match self.fuse.get() {
                Some(0) => self.dead.set(true),
                Some(left) => self.fuse.set(Some(left - 1)),
                None => {}
            }
            if self.dead.get() { Poll::Pending } else { Poll::Ready(()) }
        })
    }

    pub(crate) fn sleep(self: &Rc<Self>, ms: i64) -> impl Future<Output = ()> + 'static {
        let id = self.next.get();
        self.next.set(id + 1);
        Sleep { clock: Rc::clone(self), until: self.now.get() + ms, id, has_waited: false }
    }

    /// Everything dies that runs here.
    pub(crate) fn die(&self) {
        self.dead.set(true);
    }

    pub(crate) fn next_wake(&self) -> Option<i64> {
        self.waiting.borrow().keys().next().map(|(until, _)| *until)
    }

    pub(crate) fn advance(&self, to: i64) {
        self.now.set(to.max(self.now.get()));
        let due: Vec<Waker> = {
            let mut waiting = self.waiting.borrow_mut();
            let later = waiting.split_off(&(to + 1, 0));
            std::mem::replace(&mut *waiting, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whose task something is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Session,
    Bridge,
}

/// Tasks of one life of the objects.
#[derive(Default)]
pub(crate) struct Tasks {
    new: RefCell<Vec<(Owner, Task)>>,
    running: RefCell<Vec<(Owner, Task)>>,
    dead: Rc<Cell<bool>>,
}

impl Tasks {
    /// Those of a new life.
    pub(crate) fn of(clock: &Clock) -> Rc<Self> {
        Rc::new(Self { dead: Rc::clone(&clock.dead), ..Self::default() })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawn_of(Owner::Session, task);
    }

    pub(crate) fn spawn_of(&self, owner: Owner, task: impl Future<Output = ()> + 'static) {
        self.new.borrow_mut().push((owner, Box::pin(task)));
    }

    /// Drops everything of one of them.
    pub(crate) fn end_of(&self, owner: Owner) {
        self.new.borrow_mut().retain(|(of, _)| *of != owner);
        self.running.borrow_mut().retain(|(of, _)| *of != owner);
    }

    /// Drops everything.
    pub(crate) fn end(&self) {
        self.new.borrow_mut().clear();
        self.running.borrow_mut().clear();
    }

    /// Runs until everybody waits.
    pub(crate) fn run(&self) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        while !self.dead.get() && (flag.0.swap(false, Ordering::Relaxed) || !self.new.borrow().is_empty()) {
            let mut running = std::mem::take(&mut *self.running.borrow_mut());
            running.append(&mut self.new.borrow_mut());
            running.retain_mut(|(_, task)| {
                self.dead.get() || task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            self.running.borrow_mut().append(&mut running);
        }
    }
}
