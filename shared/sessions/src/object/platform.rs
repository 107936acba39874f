//! What an object that owns a session has of its platform.

use std::future::Future;
use std::rc::Rc;

use database::Database;
use database::local::Sql;
use http::{Request, Response};
use web::{Blobs, Failure, Fetch, Host, LiveBody, Peers, RequestBody};

use super::terminal::Inbox;

use crate::github::{Sign, TokenCache};
use crate::runtime::{Provider, ProviderKind};
use crate::session::Transition;

/// The object's end of a socket. Nothing that is said to it waits or fails: one whose client has gone loses it.
pub trait Socket {
    /// Sends a text.
    fn text(&self, text: &str);

    /// Sends bytes.
    fn bytes(&self, bytes: &[u8]);

    /// Closes it, with a code and words of at most 123 bytes.
    fn close(&self, code: u16, reason: &str);
}

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
    /// The runners that call us, by their keys.
    type Runners: Peers + 'static;
    /// The object's end of a socket. Dropped, it hands in nothing more.
    type Socket: Socket + 'static;
    /// Bridges to databases, by name.
    type Bridges: Peers + 'static;

    /// The session's own database.
    fn sql(&self) -> &Self::Sql;

    /// The database of all sessions; none where the binding is missing.
    fn db(&self) -> Option<Rc<Self::Db>>;

    /// Objects of transcripts; none where the binding is missing.
    fn blobs(&self) -> Option<Rc<Self::Blobs>>;

    /// Bridges to databases; none where the binding is missing.
    fn bridges(&self) -> Option<Rc<Self::Bridges>>;

    /// The runners that call us; none where the binding is missing.
    fn runners(&self) -> Option<Rc<Self::Runners>>;

    /// Requests to servers of others.
    fn fetch(&self) -> Rc<Self::Fetch>;

    /// Signatures with the App's key.
    fn sign(&self) -> Rc<Self::Sign>;

    /// Tokens for repositories, shared by the sessions of a process or isolate.
    fn tokens(&self) -> Rc<TokenCache>;

    /// The provider of that kind.
    fn runtimes(&self, kind: ProviderKind) -> Rc<Self::Runtimes>;

    /// Switches the connection of a request that asks for it to a socket: its end here, and the answer. The object stays while it is
    /// open. Whatever the client says is handed in.
    ///
    /// # Errors
    /// When the platform makes no socket; why, for logs.
    fn accept(
        &self,
        request: &mut Request<Self::Request>,
        inbox: Rc<Inbox>,
    ) -> Result<(Self::Socket, Response<Self::Response>), Failure>;

    /// Sets the alarm of the object to a time in milliseconds since 1970, in place of any that was set.
    fn set_alarm(&self, at: i64);

    /// Counts a transition where the operator keeps counters. Never waits, never fails.
    fn count(&self, _transition: &Transition) {}

    /// Lets work go on, as long as the object lives.
    fn spawn(&self, work: impl Future<Output = ()> + 'static);
}
