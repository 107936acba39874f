//! Requests to a shape service.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CACHE_CONTROL, HeaderValue};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use pg_sync::answer::Answer;
use pg_sync::shape::{Ask, ShapeRequest};

use crate::serve::client::Client;

/// Asks, and waits for the whole answer. Redirects are answers like others.
pub(super) async fn ask(client: &Client<Empty<Bytes>>, request: &ShapeRequest<'_>, timeout: Duration) -> Answer {
    let Some(url) = request.url() else { return Answer::Broken("the address of the request is too long".into()) };
    match tokio::time::timeout(timeout, exchange(client, url.as_str(), request)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Broken("the service did not answer in time".into()),
    }
}

async fn exchange(client: &Client<Empty<Bytes>>, url: &str, request: &ShapeRequest<'_>) -> Answer {
    // Texts of errors hold no address, and so no secret.
    let Ok(mut asked) = Request::get(url).body(Empty::new()) else {
        return Answer::Broken("the address of the request cannot be used".into());
    };
    if !matches!(request.ask, Ask::Live(..)) {
        asked.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let response = match client.request(asked).await {
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
