//! What an object that owns a session has of its platform.

use std::future::Future;
use std::rc::Rc;

use database::Database;
use database::local::Sql;
use web::{Blobs, Fetch, Host, LiveBody, RequestBody};

use crate::github::{Sign, TokenCache};
use crate::runtime::{Provider, ProviderKind};

/// The platform of one session.
pub trait Platform: Host + 'static {
    /// The body of a request.
    type Request: RequestBody;
    /// The body of a response.
    type Response: LiveBody;
    /// The session's own database.
    type Sql: Sql + 'static;
    /// The database of all sessions.
    type Db: Database + 'static;
    /// Objects of transcripts.
    type Blobs: Blobs + 'static;
    /// Requests to servers of others.
    type Fetch: Fetch + 'static;
    /// Signatures with the App's key.
    type Sign: Sign + 'static;
    /// Where agents run.
    type Runtimes: Provider + 'static;

    /// The session's own database.
    fn sql(&self) -> &Self::Sql;

    /// The database of all sessions; none where the binding is missing.
    fn db(&self) -> Option<Rc<Self::Db>>;

    /// Objects of transcripts; none where the binding is missing.
    fn blobs(&self) -> Option<Rc<Self::Blobs>>;

    /// Requests to servers of others.
    fn fetch(&self) -> Rc<Self::Fetch>;

    /// Signatures with the App's key.
    fn sign(&self) -> Rc<Self::Sign>;

    /// Tokens for repositories, shared by the sessions of a process or isolate.
    fn tokens(&self) -> Rc<TokenCache>;

    /// The provider of that kind.
    fn runtimes(&self, kind: ProviderKind) -> Rc<Self::Runtimes>;

    /// Sets the alarm of the object to a time in milliseconds since 1970, in place of any that was set.
    fn set_alarm(&self, at: i64);

    /// Lets work go on, as long as the object lives.
    fn spawn(&self, work: impl Future<Output = ()> + 'static);
}
