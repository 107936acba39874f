//! Questions to the index that several wait for: about one user it is asked once at a time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Running questions, by user. At most one for each user who has a socket or a request.
#[derive(Debug, Default)]
pub(crate) struct Questions(RefCell<HashMap<String, Rc<Question>, keyed::Build>>);

#[derive(Debug, Default)]
struct Question {
    ended: Cell<bool>,
    answer: Cell<Option<bool>>,
    waiting: RefCell<Vec<Waker>>,
}

/// The asking of a question. Ends with this, answered or not.
pub(super) struct Asking<'a> {
    questions: &'a Questions,
    user: &'a str,
    question: Rc<Question>,
}

/// What there is to do about a question.
pub(super) enum Turn<'a> {
    /// To ask it.
    Ask(Asking<'a>),
    /// Nothing more: somebody else's question was answered meanwhile.
    Answered(bool),
}

impl Questions {
    /// Whoever comes first asks; the others get that answer, or ask when there was none.
    pub(super) async fn enter<'a>(&'a self, user: &'a str) -> Turn<'a> {
        loop {
            let running = self.0.borrow().get(user).cloned();
            let Some(question) = running else {
                let question = Rc::<Question>::default();
                self.0.borrow_mut().insert(user.to_owned(), Rc::clone(&question));
                return Turn::Ask(Asking { questions: self, user, question });
            };
            question.end().await;
            if let Some(answer) = question.answer.get() {
                return Turn::Answered(answer);
            }
        }
    }

    /// From here on questions that run are those of the past: nobody joins them, and what they bring is not remembered.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Question {
    async fn end(&self) {
        poll_fn(|context| {
            if self.ended.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Asking<'_> {
    /// Whether nothing has happened since that makes the answer one of the past.
    pub(super) fn is_current(&self) -> bool {
        self.questions.0.borrow().get(self.user).is_some_and(|current| Rc::ptr_eq(current, &self.question))
    }

    /// Tells those who wait.
    pub(super) fn answer(self, answer: bool) -> bool {
        self.question.answer.set(Some(answer));
        answer
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.is_current() {
            self.questions.0.borrow_mut().remove(self.user);
        }
        self.question.ended.set(true);
        for waker in self.question.waiting.take() {
            waker.wake();
        }
    }
}
