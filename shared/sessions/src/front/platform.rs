//! What the front worker has of its platform.

use database::Database;
use web::{Fetch, Host, Objects, Peers, RequestBody, ResponseBody};

/// The platform of one request.
pub trait Platform: Host {
    /// Bodies of requests.
    type Request: RequestBody;
    /// Bodies of responses.
    type Response: ResponseBody;
    /// The database of all sessions.
    type Db: Database;
    /// Where key sets come from, and the time.
    type Keys: auth::KeySetSource + auth::Clock;
    /// The sessions, by name.
    type Objects: Objects<Self::Request, Self::Response>;
    /// The runners that call us, by their keys.
    type Runners: Objects<Self::Request, Self::Response> + Peers;
    /// Requests to servers of others.
    type Fetch: Fetch;

    /// The database of all sessions; none where the binding is missing.
    fn db(&self) -> Option<&Self::Db>;

    /// The sessions.
    fn objects(&self) -> &Self::Objects;

    /// Bridges to databases, by name; none where the binding is missing.
    fn bridges(&self) -> Option<&Self::Objects>;

    /// The runners that call us; none where the binding is missing.
    fn runners(&self) -> Option<&Self::Runners>;

    /// Requests to servers of others.
    fn fetch(&self) -> &Self::Fetch;
}
