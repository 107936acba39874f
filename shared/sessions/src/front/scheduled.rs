//! What the clock settles (agents.md 6.7, 7.4, 11.2, 16).

use super::platform::Platform;
use super::service::Service;
use crate::registry::{bundles, checkpoints, operator, pulls, runners, sessions, usage, webhooks};
use crate::session::budget::day_of;

/// Cleans up. What fails is reported and done with the next turn of the clock.
pub async fn scheduled<P: Platform>(platform: &P, service: &Service<P::Keys>) {
    let Some(db) = platform.db() else { return };
    let now = platform.now_ms();
    let ttl = service.settings.runtime.runner_ttl_ms;
    let failures = [
        checkpoints::delete_expired(db, now).await.err(),
        bundles::delete_expired(db, now).await.err(),
        runners::mark_offline(db, now, ttl).await.err(),
        usage::forget_old(db, day_of(now)).await.err(),
        sessions::forget_deleted(db, now).await.err(),
        webhooks::forget_old(db, now).await.err(),
        pulls::forget_old(db, now).await.err(),
        operator::forget_deleted(db, now).await.err(),
    ];
    for failure in failures.into_iter().flatten() {
        let text = failure.to_string();
        platform.report(&web::Event::new(web::Level::Error, "agents/clean-up-failed").with_error(&text));
    }
}
