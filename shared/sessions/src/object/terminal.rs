//! Terminals (agents.md 2.6.11, 5.3.8).

use std::rc::Rc;

use http::{Request, Response};
use web::url;

use super::routes::Caller;
use super::{Platform, Session};
use crate::error::Error;
use crate::event::Draft;

/// What a runtime without terminals is answered with.
const UNSUPPORTED: &str = "session runtime does not support browser terminal";

/// Opens a terminal in the session's runtime.
pub(super) async fn open<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    let (is_terminal, runtime) = session.look(|core| (core.state.status.is_terminal(), core.state.runtime.clone()))?;
    if is_terminal {
        return Err(Error::NotWritable);
    }
    runtime.ok_or(Error::RuntimeUnavailable)?;
    let size = |name: &str| url::query(request.uri(), name).and_then(|text| text.parse::<u32>().ok());
    let (cols, rows) = (size("cols"), size("rows"));
    session.change(|core, decide| {
        decide.append(&mut core.state, Draft::terminal_failed(user, UNSUPPORTED, cols, rows));
    })?;
    Err(Error::Unsupported(UNSUPPORTED))
}
