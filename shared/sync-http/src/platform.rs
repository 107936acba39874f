//! The ports of the front worker: what the surface needs of the platform it runs on, besides what every service has
//! ([`web::Host`]).
//!
//! The Cloudflare adapter and the native server implement these traits; no rule lives behind them. Bodies are opaque:
//! those of assets and of forwarded requests pass through without being read here.

use database::Database;
use web::{Host, ObjectStore, Objects, RequestBody, ResponseBody, Upstream};

/// The platform under the front worker.
pub trait Platform: Host {
    /// Bodies of requests.
    type Request: RequestBody;
    /// Bodies of responses.
    type Response: ResponseBody;
    /// The index database. A clone is another handle to it.
    type Db: Database + Clone + 'static;
    /// Where key sets come from, and the time.
    type Keys: auth::KeySetSource + auth::Clock;
    /// The store of assets.
    type Assets: ObjectStore<Self::Request, Self::Response>;
    /// The graphs, by name.
    type Graphs: Objects<Self::Request, Self::Response>;
    /// The agents service.
    type Agents: Upstream<Self::Request, Self::Response>;

    /// The index database, unless it is not configured.
    fn db(&self) -> Option<&Self::Db>;

    /// The store of assets, unless it is not configured.
    fn assets(&self) -> Option<&Self::Assets>;

    /// The graphs.
    fn graphs(&self) -> &Self::Graphs;

    /// The agents service, unless it is not configured.
    fn agents(&self) -> Option<&Self::Agents>;
}
