//! What the object of a runner has of its platform.

use std::future::Future;
use std::rc::Rc;

use database::Database;
use database::local::Sql;
use web::{Host, Peers, RequestBody, ResponseBody};

/// The platform of one runner.
pub trait Platform: Host + 'static {
    /// The body of a request.
    type Request: RequestBody;
    /// The body of a response.
    type Response: ResponseBody;
    /// The object's own database.
    type Sql: Sql + 'static;
    /// The database of all sessions.
    type Db: Database + 'static;
    /// The sessions, by name.
    type Sessions: Peers + 'static;

    /// The object's own database.
    fn sql(&self) -> &Self::Sql;

    /// The database of all sessions; none where the binding is missing.
    fn db(&self) -> Option<Rc<Self::Db>>;

    /// The sessions.
    fn sessions(&self) -> Rc<Self::Sessions>;

    /// Sets the alarm of the object to a time in milliseconds since 1970, in place of any that was set.
    fn set_alarm(&self, at: i64);

    /// Lets work go on, as long as the object lives.
    fn spawn(&self, work: impl Future<Output = ()> + 'static);
}
