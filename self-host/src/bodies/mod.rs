//! Bodies of requests and responses, and the channel by which they cross from one thread to another.

mod channel;
mod request;
mod response;

pub(crate) use channel::{ByteReceiver, ByteSender, channel};
pub(crate) use request::NativeRequest;
pub(crate) use response::{FileBody, NativeResponse, SentBody};
