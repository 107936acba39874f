//! Which bridges the configuration asks for.

use pg_sync::bridge::Source;
use pg_sync::identity::{Origin, source_id, subscription_id};
use pg_sync::options::{OnGap, Options, Replica};
use pg_sync::wake::Wake;

use crate::config::PgSync;

/// Whose the observations of a configuration are.
const OWNER: &str = "operator";

/// A bridge, and who observes it.
pub(super) struct Planned {
    pub(super) source: Source,
    pub(super) observers: Vec<PlannedObserver>,
    /// Whether it is made although nobody observes it: it will be read.
    pub(super) is_read: bool,
}

/// An observation of the configuration.
pub(super) struct PlannedObserver {
    /// Its name in the configuration.
    pub(super) name: String,
    /// The name of the subscription.
    pub(super) id: String,
    pub(super) wake: Wake,
}

impl Planned {
    /// A bridge that is stored, of whose source the configuration says nothing any more.
    pub(super) const fn unobserved(source: Source) -> Self {
        Self { source, observers: Vec::new(), is_read: false }
    }

    /// A bridge that somebody wants to read.
    pub(super) const fn read(source: Source) -> Self {
        Self { source, observers: Vec::new(), is_read: true }
    }
}

/// A source that is stored and cannot be read: nobody's, of no connection.
pub(super) const fn unknown(id: String) -> Source {
    let options = Options {
        table: String::new(),
        columns: None,
        filter: None,
        params: None,
        replica: Replica::Default,
        on_gap: OnGap::Event,
    };
    Source { id, owner: String::new(), connection: String::new(), options }
}

/// Equal sources are one bridge.
pub(super) fn plan(config: &PgSync) -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    for observation in &config.observations {
        let id = source_id(OWNER, Origin::Connection(&observation.connection), &observation.options);
        let observer = PlannedObserver {
            name: observation.id.clone(),
            id: subscription_id(&format!("configuration:{}", observation.id), &id),
            wake: observation.wake.clone(),
        };
        if let Some(known) = planned.iter_mut().find(|known| known.source.id == id) {
            known.observers.push(observer);
            continue;
        }
        let (connection, options) = (observation.connection.clone(), observation.options.clone());
        planned.push(Planned {
            source: Source { id, owner: OWNER.into(), connection, options },
            observers: vec![observer],
            is_read: false,
        });
    }
    planned
}
