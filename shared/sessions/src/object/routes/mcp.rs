//! An agent calls tools of its session (pg-sync.md 4.12).

use std::rc::Rc;

use http::{Request, Response};
use web::{ReadError, RequestBody as _, ResponseBody as _};

use super::Caller;
use crate::error::Error;
use crate::object::{Platform, Session, tools};

/// Answers a request whose head was judged at the front.
pub(super) async fn answer<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if !session.may_call_tools(caller)? {
        request.body_mut().cancel().await;
        return Ok(mcp::unauthorized().map(P::Response::full));
    }
    let body = web::read(request, mcp::MAX_BODY_BYTES).await.map_err(|error| match error {
        ReadError::TooLarge => Error::RequestTooLarge,
        ReadError::Interrupted => Error::InvalidBody,
    })?;
    let offered = tools::all();
    let server = mcp::Server { name: "logseq", version: env!("CARGO_PKG_VERSION"), tools: &offered };
    let answer = match mcp::read(server, &body) {
        mcp::Read::Answer(answer) => answer,
        mcp::Read::Call(call) => {
            let outcome = tools::call(session, call.tool, &call.arguments).await;
            call.answer(&outcome)
        }
    };
    Ok(answer.map(P::Response::full))
}
