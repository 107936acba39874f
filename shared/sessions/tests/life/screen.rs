//! Whoever looks at a terminal.

use std::cell::RefCell;
use std::rc::Rc;

use sessions::object::{Inbox, Socket};

/// What a viewer has seen; `closed CODE` at the end.
#[derive(Clone, Default)]
pub(crate) struct Screen(pub(crate) Rc<RefCell<Vec<String>>>);

impl Socket for Screen {
    fn text(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }

    fn bytes(&self, bytes: &[u8]) {
        self.0.borrow_mut().push(String::from_utf8_lossy(bytes).into_owned());
    }

    fn close(&self, code: u16, _: &str) {
        self.0.borrow_mut().push(format!("closed {code}"));
    }
}

/// A viewer: what it says, and what it sees.
pub(crate) struct Viewer {
    pub(crate) inbox: Rc<Inbox>,
    pub(crate) screen: Screen,
}

pub(crate) type Viewers = Rc<RefCell<Vec<Viewer>>>;
