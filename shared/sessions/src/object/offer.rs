//! Tools are offered to an agent (pg-sync.md 4.12): whether, and with which token.

use transcripts::run_token::RunTokens;
use transcripts::tool_token::Claims;

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

    /// What becomes of the offer to an agent whose runner calls us, before that has opened it.
    pub(super) fn offer_at_desk(&self, core: &Core) -> Option<Offer> {
        self.platform.bridges()?;
        Some(self.can_offer(core).err().unwrap_or(Offer::Made))
    }

    /// What a runner is told of tools, with items that open its agent's session or with others.
    pub(super) fn tools_at_desk(&self, is_opening: bool) -> Result<Option<ToolServer>, Error> {
        let is_told = self.look(|core| core.state.tools.go_with(is_opening))?;
        if self.platform.bridges().is_none() || !is_told {
            return Ok(None);
        }
        let now = self.platform.now_ms();
        self.change(|core, _| self.server_for(core, |state| tools::current(state, now)).ok())
    }

    fn tool_server(&self, core: &mut Core, now: i64) -> Result<ToolServer, Offer> {
        self.server_for(core, |state| tools::make(state, now))
    }

    /// The address of the service, and the keys that sign tokens.
    fn can_offer<'s: 'c, 'c>(&'s self, core: &'c Core) -> Result<(&'c str, &'s RunTokens), Offer> {
        if !self.settings.pg_sync.offers_tools {
            return Err(Offer::Off);
        }
        let keys = self.settings.transcripts.tokens.as_ref().ok_or(Offer::NoKeys)?;
        Ok((self.service_url(core).ok_or(Offer::NoAddress)?, keys))
    }

    fn server_for(&self, core: &mut Core, claims: impl FnOnce(&mut State) -> Claims) -> Result<ToolServer, Offer> {
        let (base, keys) = self.can_offer(core)?;
        let base = base.to_owned();
        let token = claims(&mut core.state).token(keys).map_err(|_| Offer::NoKeys)?;
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
