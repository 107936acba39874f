//! Which tool tokens of a session count, and what became of offering tools to its agent (pg-sync.md 4.12).

use serde::{Deserialize, Serialize};
use transcripts::limits::TOOL_TOKEN_S;
use transcripts::tool_token::Claims;

use super::{State, Status};

/// Tokens of one runtime that are remembered, so that none of them is shown: one for each time that a session of the agent was opened lately.
const MAX_TOKENS: usize = 4;

/// What became of the offer to the session of the agent that was opened last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// It was told where the tools are.
    Made,
    /// The operator has turned tools off.
    Off,
    /// There is no key to sign a token with.
    NoKeys,
    /// Under which address the service is reached is not known.
    NoAddress,
    /// The agent cannot use tools behind HTTP.
    NoHttp,
    /// A runner that calls us opened the agent's session, and does not say whether it passed the offer on: it is older than that.
    Runner,
}

impl Offer {
    /// Why there was none, for people.
    pub fn why_not(self) -> Option<&'static str> {
        Some(match self {
            Self::Made => return None,
            Self::Off => "off",
            Self::NoKeys => "no-keys",
            Self::NoAddress => "no-address",
            Self::NoHttp => "no-http",
            Self::Runner => "runner",
        })
    }
}

/// What is known of the tokens of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Tools {
    /// Tokens of this runtime count, and those of no other.
    pub generation: u64,
    /// When its tokens were made, in seconds since 1970: at most [`MAX_TOKENS`], the latest last.
    pub made_at: Vec<i64>,
    /// What became of the last offer; none before the first.
    pub offer: Option<Offer>,
}

impl Tools {
    /// A runtime is about to be made, or the session is ended: earlier tokens count no more.
    pub(super) fn begin_anew(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.made_at.clear();
    }

    /// Whether a runner that calls us is told of tools. One that opens the agent's session is asked anew each time; with a prompt they go to an
    /// agent that has them.
    pub fn go_with(&self, is_opening: bool) -> bool {
        match self.offer {
            Some(Offer::Made) => true,
            Some(Offer::NoHttp | Offer::Runner) => is_opening,
            Some(Offer::Off | Offer::NoKeys | Offer::NoAddress) | None => false,
        }
    }

    /// A runner that calls us has opened the agent's session, and says whether that has the tools; or it says nothing of it.
    pub fn opened_there(&mut self, has_tools: Option<bool>) {
        if let Some(Offer::Made | Offer::NoHttp | Offer::Runner) = self.offer {
            self.offer = Some(match has_tools {
                Some(true) => Offer::Made,
                Some(false) => Offer::NoHttp,
                None => Offer::Runner,
            });
        }
    }

    /// The agent's session was opened, and it can use tools or not.
    pub fn opened(&mut self, has_tools: bool) {
        if self.offer == Some(Offer::Made) && !has_tools {
            self.offer = Some(Offer::NoHttp);
        }
    }
}

/// What a new token says. It is remembered.
pub fn make(state: &mut State, now_ms: i64) -> Claims {
    let at = now_ms.div_euclid(1_000);
    let made = &mut state.tools.made_at;
    made.retain(|made| *made != at && at < made.saturating_add(TOOL_TOKEN_S));
    made.push(at);
    let too_many = made.len().saturating_sub(MAX_TOKENS);
    made.drain(..too_many);
    claims(state, at)
}

/// What the token says that goes out now: the one before goes out again for half of its time, so that an agent that is told of it each time has
/// few of them.
pub fn current(state: &mut State, now_ms: i64) -> Claims {
    let at = now_ms.div_euclid(1_000);
    let holds = |made: &i64| *made <= at && at < made.saturating_add(TOOL_TOKEN_S / 2);
    match state.tools.made_at.last().copied().filter(holds) {
        Some(made) => claims(state, made),
        None => make(state, now_ms),
    }
}

/// What tokens say that may still count.
pub fn known(state: &State) -> impl Iterator<Item = Claims> {
    state.tools.made_at.iter().map(|at| claims(state, *at))
}

fn claims(state: &State, at: i64) -> Claims {
    Claims::new(&state.requested_by, &state.id, state.tools.generation, at)
}

/// Whether whoever holds a token may call the session's tools: it is of this user's session and of its present runtime, and nobody has ended
/// the session. What the token says of times was looked at where its signature was.
pub fn may_call(state: &State, claims: &Claims) -> bool {
    let is_ours = claims.sid == state.id && claims.sub == state.requested_by;
    let is_open = state.status != Status::Canceled && state.removal.is_none();
    is_ours && is_open && claims.generation == state.tools.generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_for_its_session_and_runtime_alone() {
        let mut state = State::new("s", "ann", 0);
        state.tools.begin_anew();
        let claims = make(&mut state, 5_999);
        assert_eq!((claims.iat, claims.exp, claims.generation), (5, 5 + TOOL_TOKEN_S, 1));
        assert!(may_call(&state, &claims));
        for other in [
            Claims { sid: "t".into(), ..claims.clone() },
            Claims { sub: "bob".into(), ..claims.clone() },
            Claims { generation: 0, ..claims.clone() },
            Claims { generation: 2, ..claims.clone() },
        ] {
            assert!(!may_call(&state, &other), "{other:?}");
        }
        state.status = Status::Canceled;
        assert!(!may_call(&state, &claims));
        state.status = Status::Completed;
        assert!(may_call(&state, &claims), "a session that has completed goes on with the next message");
        state.tools.begin_anew();
        assert!(!may_call(&state, &claims) && known(&state).next().is_none());
    }

    #[test]
    fn the_last_few_are_remembered() {
        let mut state = State::new("s", "ann", 0);
        let made: Vec<Claims> = (1..=6).map(|second| make(&mut state, second * 1_000)).collect();
        assert_eq!(known(&state).collect::<Vec<_>>(), made[2..]);
        assert_eq!(make(&mut state, 6_500), made[5], "the same second, the same token");
        assert_eq!(state.tools.made_at, [3, 4, 5, 6]);
        make(&mut state, (4 + TOOL_TOKEN_S) * 1_000);
        assert_eq!(state.tools.made_at, [5, 6, 4 + TOOL_TOKEN_S], "whose time is over is forgotten");
    }

    #[test]
    fn a_token_goes_out_again_for_half_of_its_time() {
        let mut state = State::new("s", "ann", 0);
        let first = current(&mut state, 1_000_000);
        assert_eq!(current(&mut state, 1_000_000 + (TOOL_TOKEN_S / 2 - 1) * 1_000), first);
        let second = current(&mut state, 1_000_000 + TOOL_TOKEN_S / 2 * 1_000);
        assert_eq!((second.iat - first.iat, second.exp - second.iat), (TOOL_TOKEN_S / 2, TOOL_TOKEN_S));
        assert_eq!(known(&state).collect::<Vec<_>>(), [first, second], "both are taken out of what is shown");
        state.tools.begin_anew();
        assert_eq!(current(&mut state, 1_000_000).generation, 1, "another runtime has another");
    }

    #[test]
    fn a_runner_that_calls_says_what_became_of_the_offer() {
        let mut tools = Tools { offer: Some(Offer::Made), ..Tools::default() };
        for (said, offer, with_prompts) in
            [(None, Offer::Runner, false), (Some(false), Offer::NoHttp, false), (Some(true), Offer::Made, true)]
        {
            tools.opened_there(said);
            assert_eq!((tools.offer, tools.go_with(true), tools.go_with(false)), (Some(offer), true, with_prompts));
        }
        for offer in [None, Some(Offer::Off), Some(Offer::NoKeys), Some(Offer::NoAddress)] {
            let mut tools = Tools { offer, ..Tools::default() };
            tools.opened_there(Some(true));
            assert_eq!((tools.offer, tools.go_with(true), tools.go_with(false)), (offer, false, false));
        }
    }

    #[test]
    fn an_agent_without_http_has_none() {
        let mut tools = Tools { offer: Some(Offer::Made), ..Tools::default() };
        tools.opened(true);
        assert_eq!(tools.offer.and_then(Offer::why_not), None);
        tools.opened(false);
        assert_eq!(tools.offer.and_then(Offer::why_not), Some("no-http"));
        let mut off = Tools { offer: Some(Offer::Off), ..Tools::default() };
        off.opened(false);
        assert_eq!(off.offer, Some(Offer::Off));
    }
}
