//! A prompt for an agent that nobody can call, where the use of a day is limited (agents.md 20.1).

use super::carry::{Around, prompt};
use crate::error::Error;
use crate::object::{Platform, Session};

impl<P: Platform> Session<P> {
    /// Lays the prompt of a turn on the desk, once it is known what the creator's other sessions have used today. What cannot be asked keeps nobody
    /// from working.
    pub(in crate::object) async fn lay_prompt(&self, number: u64) -> Result<(), Error> {
        if let Err(error) = self.ask_user_day().await {
            self.warn("agents/usage-not-asked", &error);
        }
        let new_id = || self.platform.random_uuid().to_string();
        let around = Around { sql: self.platform.sql(), new_id: &new_id };
        self.change(|core, decide| prompt(core, decide, &around, number))
    }
}
