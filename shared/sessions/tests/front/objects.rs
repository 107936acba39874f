//! Real objects of sessions behind the front worker, by their names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use database::sqlite::Sqlite;
use http::Request;
use sessions::settings::Settings;

use crate::life;
use crate::platform::Body;
use crate::world::Sent;

pub(crate) struct Objects {
    db: Rc<Sqlite>,
    settings: Box<dyn Fn() -> Settings>,
    worlds: RefCell<HashMap<String, life::World>>,
}

impl Objects {
    pub(crate) fn new(db: Rc<Sqlite>, settings: impl Fn() -> Settings + 'static) -> Self {
        Self { db, settings: Box::new(settings), worlds: RefCell::default() }
    }

    /// What the object of the session answers, if it does.
    pub(crate) fn answer(&self, sent: &Sent) -> Option<(u16, Vec<u8>)> {
        if sent.name.starts_with("pgsync:") {
            // Nobody observes anything.
            return Some((404, br#"{"error":"not found"}"#.to_vec()));
        }
        let mut worlds = self.worlds.borrow_mut();
        let world = worlds
            .entry(sent.name.clone())
            .or_insert_with(|| life::World::beside(Some(Rc::clone(&self.db)), (self.settings)(), "local-dev"));
        let (method, uri) = sent.line.split_once(' ').unwrap();
        let mut request = Request::new(Body(Some(sent.body.clone())));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = uri.parse().unwrap();
        *request.headers_mut() = sent.headers.clone();
        world.answer(request)
    }
}
