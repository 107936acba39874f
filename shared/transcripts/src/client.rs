//! What a worker of 7.2 does (transcripts.md 2.4): reads the conversation before its run, sends it after. The file is the one file
//! that its agent keeps.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use web::{Call, CallError, Fetch, ReplyError};

use crate::alias::{PATH, Upload};
use crate::rules::Status;
use crate::target::{Target, TargetError};

/// How long an answer is waited for, in milliseconds: of a read, of an upload.
const READ_MS: u32 = 30_000;
const UPLOAD_MS: u32 = 60_000;

/// Why a conversation could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The service refuses.
    #[error("transcript hydrate failed: {status} {text}")]
    Refused {
        /// Its status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// There is no whole answer.
    #[error("transcript hydrate failed: {0}")]
    NoAnswer(String),
    /// The file cannot be written.
    #[error("transcript hydrate failed: {0}")]
    File(#[from] TargetError),
}

/// A worker: where the service is, its token, and the file of its agent.
pub struct Client<'a, F, T> {
    /// Requests.
    pub fetch: &'a F,
    /// Files.
    pub target: &'a T,
    /// Address of the service, without a slash at its end.
    pub base_url: &'a str,
    /// The token of the run.
    pub token: &'a str,
    /// The path of the file.
    pub file: &'a str,
    /// Bytes of a snapshot at most.
    pub limit: usize,
}

impl<F: Fetch, T: Target> Client<'_, F, T> {
    /// Reads the conversation into the file. False when there is none: then the file is left alone.
    pub async fn hydrate(&self) -> Result<bool, ClientError> {
        let answer = self.fetch.fetch(self.call(Method::GET, READ_MS)).await;
        let answer = answer.map_err(|error| ClientError::NoAnswer(error.to_string()))?;
        let status = answer.status.as_u16();
        if status == 404 {
            return Ok(false);
        }
        let is_refused = !answer.status.is_success();
        let body =
            answer.bytes(self.limit).await.map_err(|error: ReplyError| ClientError::NoAnswer(error.to_string()))?;
        if is_refused {
            let text = String::from_utf8_lossy(body.get(..200).unwrap_or(&body)).into_owned();
            return Err(ClientError::Refused { status, text });
        }
        if let Some((folder, _)) = self.file.rsplit_once('/') {
            self.target.make_folder(folder).await?;
        }
        let temporary = format!("{}.new", self.file);
        self.target.write(&temporary, &body).await?;
        self.target.rename(&temporary, self.file).await?;
        Ok(true)
    }

    /// Sends the conversation of a run that is over. What cannot be sent is told and nothing else: it is the last thing a worker does.
    pub async fn upload(&self, status: Status, run_id: u64) -> Result<(), String> {
        if status != Status::Completed {
            return Ok(());
        }
        let found = self.target.read(self.file, self.limit).await.map_err(|error| error.to_string())?;
        let Some(bytes) = found.filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        let snapshot = String::from_utf8(bytes).map_err(|_| "the transcript is no text".to_owned())?;
        let mut call = self.call(Method::POST, UPLOAD_MS);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.body = Upload { status, snapshot, run_id }.to_json().to_string().into_bytes();
        match self.fetch.fetch(call).await {
            // Somebody has stored it already.
            Ok(answer) if answer.status.is_success() || answer.status.as_u16() == 409 => Ok(()),
            Ok(answer) => Err(format!("transcript upload failed: {}", answer.status.as_u16())),
            Err(error) => Err(format!("transcript upload failed: {error}")),
        }
    }

    /// Forgets the conversation at the service.
    pub async fn clear(&self) -> Result<(), CallError> {
        self.fetch.fetch(self.call(Method::DELETE, READ_MS)).await.map(drop)
    }

    fn call(&self, method: Method, limit_ms: u32) -> Call {
        let mut call = Call::new(method, format!("{}{PATH}", self.base_url));
        call.limit_ms = Some(limit_ms);
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", self.token)) {
            value.set_sensitive(true);
            call.headers.insert(AUTHORIZATION, value);
        }
        call
    }
}
