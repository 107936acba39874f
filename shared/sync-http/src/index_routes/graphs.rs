//! Graphs: list, create, access, delete (sync.md 4.1–4.5).

use index::{access, graphs, keys};
use protocol::bodies::graphs::{CreateGraph, GraphCreated, GraphDeleted, GraphList};
use protocol::bodies::{self, Body as _};

use super::Call;
use crate::delete_graph;
use crate::error::Error;
use crate::platform::Platform;

pub(super) async fn list<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    let graphs = graphs::list(call.db, &call.user).await?;
    let user_rsa_keys_exist = keys::has_rsa_pair(call.db, &call.user).await?;
    Ok(GraphList { graphs, user_rsa_keys_exist }.to_json())
}

pub(super) async fn create<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let wanted = CreateGraph::parse(body)?;
    // Requests that race each other may pass this together: they are few, and the limit is far from a need.
    if graphs::has_made_all(call.db, &call.user).await? {
        return Err(Error::TooManyGraphs);
    }
    if graphs::name_exists(call.db, &wanted.graph_name, &call.user).await? {
        return Err(Error::BadRequest("duplicate graph name"));
    }
    if wanted.graph_e2ee && !keys::has_rsa_pair(call.db, &call.user).await? {
        return Err(Error::BadRequest("missing user rsa key pair"));
    }
    let graph_id = call.platform.random_uuid().to_string();
    let graph = graphs::NewGraph {
        graph_id: &graph_id,
        graph_name: &wanted.graph_name,
        user_id: &call.user,
        schema_version: wanted.schema_version.as_deref(),
        e2ee: wanted.graph_e2ee,
        ready_for_use: wanted.graph_ready_for_use,
    };
    graphs::create(call.db, &graph, call.now_ms).await?;
    let created =
        GraphCreated { graph_id, graph_e2ee: wanted.graph_e2ee, graph_ready_for_use: wanted.graph_ready_for_use };
    Ok(created.to_json())
}

pub(super) async fn access<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    call.require_access().await?;
    Ok(bodies::OK.to_owned())
}

/// Deletion is a manager's right (D-02).
pub(super) async fn delete<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    if !access::is_manager(call.db, call.graph_id()?, &call.user).await? {
        return Err(Error::Forbidden);
    }
    let graph_id = call.graph_id()?;
    delete_graph::run(call.platform, call.db, graph_id).await?;
    Ok(GraphDeleted::new(graph_id).to_json())
}
