//! Requests to a shape service.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CACHE_CONTROL, HeaderValue};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use pg_sync::answer::Answer;
use pg_sync::shape::{Ask, ShapeRequest};
use tokio::sync::Semaphore;

use crate::serve::client::Client;

/// Live requests to one connection's service at once. Each holds a connection for the 20 seconds of a long poll, so this is also how many
/// bridges hear of a change at once.
const LIVE: usize = 1_000;

/// All other requests to it at once. They are answered at once, and have places of their own, so that none waits for a long poll.
const SHORT: usize = 64;

/// How long a live request waits for its place.
const QUEUE: Duration = Duration::from_secs(10);

/// The service of one connection.
pub(super) struct Service {
    client: Client<Empty<Bytes>>,
    live: Semaphore,
    short: Semaphore,
    queue: Duration,
}

impl Service {
    pub(super) fn new(client: Client<Empty<Bytes>>) -> Self {
        Self { client, live: Semaphore::new(LIVE), short: Semaphore::new(SHORT), queue: QUEUE }
    }

    /// Asks, and waits for the whole answer, all in all so long. Redirects are answers like others.
    pub(super) async fn ask(&self, request: ShapeRequest<'_>, timeout: Duration) -> Answer {
        match tokio::time::timeout(timeout, self.in_place(request)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Broken("the service did not answer in time".into()),
        }
    }

    /// A bridge that finds no place among those who wait asks what is there, instead of waiting for what comes: it is some seconds late, and
    /// never left out.
    async fn in_place(&self, request: ShapeRequest<'_>) -> Answer {
        if let Ask::Live(cursor, _) = request.ask {
            // Places are never closed.
            if let Ok(Ok(_place)) = tokio::time::timeout(self.queue, self.live.acquire()).await {
                return self.exchange(&request).await;
            }
            let ask = Ask::CatchUp(cursor.clone());
            let _place = self.short.acquire().await;
            return self.exchange(&ShapeRequest { ask: &ask, ..request }).await;
        }
        let _place = self.short.acquire().await;
        self.exchange(&request).await
    }

    async fn exchange(&self, request: &ShapeRequest<'_>) -> Answer {
        let Some(url) = request.url() else { return Answer::Broken("the address of the request is too long".into()) };
        // Texts of errors hold no address, and so no secret.
        let Ok(mut asked) = Request::get(url.as_str()).body(Empty::new()) else {
            return Answer::Broken("the address of the request cannot be used".into());
        };
        if !matches!(request.ask, Ask::Live(..)) {
            asked.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        let response = match self.client.request(asked).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Answer::Broken("the service cannot be reached".into()),
            Err(_) => return Answer::Broken("the connection to the service broke".into()),
        };
        let (head, body) = response.into_parts();
        match Limited::new(body, request.ask.max_body_bytes()).collect().await {
            Ok(body) => {
                let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
                Answer::of(head.status.as_u16(), header, body.to_bytes().to_vec(), request.secret)
            }
            Err(error) if error.is::<LengthLimitError>() => Answer::TooLarge,
            Err(_) => Answer::Broken("the answer was cut off".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use pg_sync::options::{OnGap, Options, Replica};
    use pg_sync::shape::{Cursor, LogMode};
    use url::Url;

    use super::super::tests::{Stub, alone, told};
    use super::*;
    use crate::serve::client::plain;

    #[test]
    fn who_waits_for_changes_keeps_nobody_from_asking_and_who_finds_no_place_asks_what_is_there() {
        alone(async {
            let stub = Stub::start(async |request: String| {
                if request.contains("live=true") {
                    std::future::pending::<()>().await;
                }
                told("200 OK", "", "[]")
            });
            let stub = stub.await;
            let mut service = Service::new(plain());
            (service.live, service.queue) = (Semaphore::new(3), Duration::from_millis(50));
            let service = std::rc::Rc::new(service);
            let base = Url::parse(&stub.url).unwrap();
            let ask = async |ask: Ask, timeout_ms: u64| {
                let options = Options {
                    table: "t".into(),
                    columns: None,
                    filter: None,
                    params: None,
                    replica: Replica::Default,
                    on_gap: OnGap::Event,
                };
                let request = ShapeRequest {
                    base: &base,
                    options: &options,
                    owner: "u",
                    secret: None,
                    cache_buster: "c",
                    ask: &ask,
                };
                service.ask(request, Duration::from_millis(timeout_ms)).await
            };
            let cursor = Cursor::new("h", "1_0", LogMode::ChangesOnly).unwrap();
            let live = || ask(Ask::Live(cursor.clone(), String::new()), 2_000);
            let short = async {
                while stub.requests.borrow().len() < 3 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let (now, fourth) = tokio::join!(ask(Ask::Now(LogMode::ChangesOnly), 1_000), live());
                assert!(matches!(now, Answer::Success(_)), "{now:?}");
                assert!(matches!(fourth, Answer::Success(_)), "{fourth:?}");
            };
            let (first, ..) = tokio::join!(live(), live(), live(), short);
            assert!(matches!(first, Answer::Broken(_)), "{first:?}");
            let waiting = stub.requests.borrow().iter().filter(|request| request.contains("live=true")).count();
            assert_eq!(waiting, 3);
            // Its place is free again.
            let after = ask(Ask::CatchUp(cursor.clone()), 1_000).await;
            assert!(matches!(after, Answer::Success(_)), "{after:?}");
            assert_eq!(service.live.available_permits(), 3);
            assert_eq!(service.short.available_permits(), SHORT);
        });
    }

    #[test]
    fn no_more_than_so_many_are_asked_at_once() {
        alone(async {
            let stub = Stub::start(async |_| {
                tokio::time::sleep(Duration::from_millis(5)).await;
                told("200 OK", "", "[]")
            })
            .await;
            let service = Service::new(plain());
            let base = Url::parse(&stub.url).unwrap();
            let options = Options {
                table: "t".into(),
                columns: None,
                filter: None,
                params: None,
                replica: Replica::Default,
                on_gap: OnGap::Event,
            };
            let ask = Ask::Now(LogMode::ChangesOnly);
            let request =
                ShapeRequest { base: &base, options: &options, owner: "u", secret: None, cache_buster: "c", ask: &ask };
            let asked = (0..4 * SHORT).map(|_| service.ask(request, Duration::from_secs(20)));
            let answers = futures_util::future::join_all(asked).await;
            assert!(answers.iter().all(|answer| matches!(answer, Answer::Success(_))));
            assert!((2..=SHORT).contains(&stub.most.get()), "{} at once", stub.most.get());
        });
    }
}
