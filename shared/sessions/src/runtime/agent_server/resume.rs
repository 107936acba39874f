//! Going on with a conversation of another sandbox (transcripts.md 4.6): its files are written before the agent is started.

use serde_json::Value;
use transcripts::Bundle;
use transcripts::hydrate::{Mark, hydrate, is_current};
use web::{Fetch, Host};

use super::files::Files;
use super::{AgentServer, ServerError};

/// A conversation that the next session of the agent is to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Which snapshot it is.
    pub mark: Mark,
    /// What was kept; none when it cannot be read: then the machine itself must have it.
    pub bundle: Option<Bundle>,
    /// The agent's own name of the conversation.
    pub native_session_id: String,
    /// The directory that the agent works in.
    pub directory: String,
    /// What cannot be written does not keep the agent from being started.
    pub continues: bool,
}

impl<F: Fetch, H: Host> AgentServer<'_, F, H> {
    /// Brings the conversation to where the agent looks for it. Whether it is there.
    ///
    /// # Errors
    /// [`ServerError::NotHydrated`] when it is not, and nothing proves that an agent could be started without it.
    pub(super) async fn hydrate(&self, resume: &Resume) -> Result<bool, ServerError> {
        let files = Files(self.again());
        let hydrated = async {
            let home = files.home().await.map_err(|error| error.to_string())?;
            match &resume.bundle {
                Some(bundle) => {
                    hydrate(&files, &home, &resume.mark, bundle).await.map(|_| ()).map_err(|error| error.to_string())
                }
                None => match is_current(&files, &home, &resume.mark).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("the kept conversation cannot be read".to_owned()),
                    Err(error) => Err(error.to_string()),
                },
            }
        };
        match hydrated.await {
            Ok(()) => Ok(true),
            Err(_) if resume.continues => Ok(false),
            Err(text) => Err(ServerError::NotHydrated(text)),
        }
    }
}

/// Whether an agent says that it can load a conversation.
pub(super) fn can_load(initialized: &Value) -> bool {
    let capabilities = initialized.get("result").and_then(|result| result.get("agentCapabilities"));
    capabilities.and_then(|capabilities| capabilities.get("loadSession")).and_then(Value::as_bool) == Some(true)
}
