//! Tools are offered to an agent (pg-sync.md 4.12): whether, and with which token.

use super::core::Core;
use super::{Platform, Session};
use crate::error::Error;
use crate::runtime::ToolServer;
use crate::session::State;
use crate::session::tools::{self, Offer};

impl<P: Platform> Session<P> {
    /// What the session of the agent that is opened next is offered. Its token is written down before anybody is told: from then on it is
    /// taken out of everything that is shown.
    pub(super) fn offer_tools(&self) -> Result<Option<ToolServer>, Error> {
        // Without bridges there is nothing that a tool could do.
        if self.platform.bridges().is_none() {
            return Ok(None);
        }
        let now = self.platform.now_ms();
        self.change(|core, _| {
            let offered = self.tool_server(core, now);
            core.state.tools.offer = Some(offered.as_ref().err().copied().unwrap_or(Offer::Made));
            offered.ok()
        })
    }

    fn tool_server(&self, core: &mut Core, now: i64) -> Result<ToolServer, Offer> {
        if !self.settings.pg_sync.offers_tools {
            return Err(Offer::Off);
        }
        let keys = self.settings.transcripts.tokens.as_ref().ok_or(Offer::NoKeys)?;
        let base = self.service_url(core).ok_or(Offer::NoAddress)?.to_owned();
        let token = tools::make(&mut core.state, now).token(keys).map_err(|_| Offer::NoKeys)?;
        core.redactor.learn(&token);
        Ok(ToolServer::new(&base, &core.state.id, token))
    }

    /// The tokens of tools that may be with the agent. They are made again for that: none is stored.
    pub(super) fn tool_tokens(&self, state: &State) -> Vec<String> {
        let keys = self.settings.transcripts.tokens.as_ref();
        // As many as are remembered, for each key.
        keys.into_iter()
            .flat_map(|keys| tools::known(state).flat_map(|claims| claims.tokens(keys).collect::<Vec<_>>()))
            .collect()
    }
}
