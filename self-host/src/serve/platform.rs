//! What the front of the surface has of this platform.

use sync_http::platform::Platform;
use web::Hosted;

use super::agents::Agents;
use crate::auth::HttpKeys;
use crate::bodies::{NativeRequest, NativeResponse};
use crate::graphs::Graphs;
use crate::host::NativeHost;
use crate::store::{Assets, Index};

/// The ports of a front. Cloning is cheap; each thread has one.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) host: NativeHost,
    pub(crate) index: Index,
    pub(crate) assets: Assets,
    pub(crate) graphs: Graphs,
    pub(crate) agents: Option<Agents>,
}

impl Hosted for Front {
    type Host = NativeHost;

    fn host(&self) -> &NativeHost {
        &self.host
    }
}

impl Platform for Front {
    type Request = NativeRequest;
    type Response = NativeResponse;
    type Db = Index;
    type Keys = HttpKeys;
    type Assets = Assets;
    type Graphs = Graphs;
    type Agents = Agents;

    fn db(&self) -> Option<&Index> {
        Some(&self.index)
    }

    fn assets(&self) -> Option<&Assets> {
        Some(&self.assets)
    }

    fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    fn agents(&self) -> Option<&Agents> {
        self.agents.as_ref()
    }
}
