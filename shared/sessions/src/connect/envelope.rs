//! The form of an envelope, and its writer.

use serde::Serialize;

use super::{Error, Failure};

/// Bytes before the payload.
pub(super) const HEAD_BYTES: usize = 5;
pub(super) const COMPRESSED: u8 = 0b01;
pub(super) const END: u8 = 0b10;

/// Appends a message to a stream or to the body of a request.
pub fn write_message(out: &mut Vec<u8>, message: &impl Serialize) -> Result<(), Error> {
    write(out, 0, message)
}

/// Appends the envelope that ends a stream.
pub fn write_end(out: &mut Vec<u8>, outcome: Result<(), &Failure>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct EndOfStream<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Failure>,
    }
    write(out, END, &EndOfStream { error: outcome.err() })
}

/// Leaves `out` as it is when the payload cannot be written.
fn write(out: &mut Vec<u8>, flags: u8, payload: &impl Serialize) -> Result<(), Error> {
    let payload = serde_json::to_vec(payload).map_err(|_| Error::Payload)?;
    let size = u32::try_from(payload.len());
    let size = size.map_err(|_| Error::TooLarge { size: payload.len(), limit: u32::MAX as usize })?;
    out.reserve(HEAD_BYTES + payload.len());
    out.push(flags);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&payload);
    Ok(())
}
