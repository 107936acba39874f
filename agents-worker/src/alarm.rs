//! Alarms of objects.

use std::rc::Rc;

use cloudflare::Host;
use web::Host as _;
use worker::{ScheduledTime, State};

/// Sets the alarm of an object to a time in milliseconds since 1970, in place of any that was set.
pub(crate) fn set(host: &Rc<Host<State>>, at: i64) {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let date = js_sys::Date::new(&(at as f64).into());
    let storage = host.keeper().storage();
    let reporter = Rc::clone(host);
    host.outlast(async move {
        // The runtime holds answers back until this is stored.
        if let Err(error) = storage.set_alarm(ScheduledTime::new(date)).await {
            report(&reporter, &error.to_string());
        }
    });
}

/// Takes back the alarm of an object.
pub(crate) fn clear(host: &Rc<Host<State>>) {
    let storage = host.keeper().storage();
    let reporter = Rc::clone(host);
    host.outlast(async move {
        if let Err(error) = storage.delete_alarm().await {
            report(&reporter, &error.to_string());
        }
    });
}

fn report(host: &Rc<Host<State>>, text: &str) {
    host.report(&web::Event::new(web::Level::Error, "agents/alarm-not-set").with_error(text));
}
