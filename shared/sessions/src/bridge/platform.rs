//! What an object that owns a bridge has of its platform.

use std::future::Future;
use std::rc::Rc;

use database::Database;
use database::local::Sql;
use web::{Fetch, Host, LiveBody, Peers, RequestBody};

/// The platform of one bridge.
pub trait Platform: Host + 'static {
    /// The body of a request.
    type Request: RequestBody;
    /// The body of a response.
    type Response: LiveBody;
    /// The bridge's own database.
    type Sql: Sql + 'static;
    /// The database of all sessions.
    type Db: Database + 'static;
    /// Requests to shape services.
    type Fetch: Fetch + 'static;
    /// Sessions, by their ids.
    type Sessions: Peers + 'static;

    /// The bridge's own database.
    fn sql(&self) -> Rc<Self::Sql>;

    /// The database of all sessions; none where the binding is missing.
    fn db(&self) -> Option<Rc<Self::Db>>;

    /// Requests to shape services.
    fn fetch(&self) -> Rc<Self::Fetch>;

    /// Sessions.
    fn sessions(&self) -> Rc<Self::Sessions>;

    /// Sets the alarm of the object to a time in milliseconds since 1970, in place of any that was set.
    fn set_alarm(&self, at: i64);

    /// Takes back the alarm, if one was set.
    fn clear_alarm(&self);

    /// Lets work go on, as long as the object lives.
    fn spawn(&self, work: impl Future<Output = ()> + 'static);
}
