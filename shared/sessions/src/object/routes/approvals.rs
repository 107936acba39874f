//! Tools of the agent that wait for a person (agents.md 18.1).

use std::rc::Rc;

use http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, body, ok};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::session::ApprovalState;
use crate::session::decide::{self, Decision, DecisionError};
use crate::session::store::Rows;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Decided {
    decision: Word,
    option_id: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Granted,
    Denied,
}

pub(super) async fn list<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    let open = session.look(|core| {
        let open = core.state.approvals.iter().filter(|approval| approval.state == ApprovalState::Open);
        let mut shown: Vec<Value> = open.map(crate::session::Approval::shown).collect();
        for approval in &mut shown {
            crate::event::sanitize(approval, &core.redactor);
        }
        shown
    })?;
    Ok(ok::<P>(&json!({"approvals": open})))
}

pub(super) async fn decide<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request_id: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    let (decided, _): (Decided, _) = body::<P, _>(request).await?;
    let request_id = web::url::decode(request_id).ok_or(Error::NotFound)?;
    let decision = match decided.decision {
        Word::Granted => Decision::Granted,
        Word::Denied => Decision::Denied,
    };
    let (option, reason) = (decided.option_id.as_deref(), decided.reason.as_deref());
    let taken = session.change(|core, decide| {
        decide::on_decision(&mut core.state, decide, &request_id, decision, option, user, reason)
    })?;
    match taken {
        Ok(()) => Ok(ok::<P>(&json!({"ok": true}))),
        Err(DecisionError::Option) => Err(Error::InvalidBody),
        Err(DecisionError::Decided) => Err(Error::ApprovalDecided),
        Err(DecisionError::Unknown) => {
            let known = Rows(session.platform.sql()).knows_approval(&request_id);
            Err(if known? { Error::ApprovalDecided } else { Error::NotFound })
        }
    }
}
