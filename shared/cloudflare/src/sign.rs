//! Signatures by the runtime's own cryptography.

use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web::Failure;

use crate::bindings::crypto;
use crate::failure::failure;

/// What RS256 is called there, with and without its hash.
const NAME: &str = "RSASSA-PKCS1-v1_5";
const HASH: &str = "SHA-256";

/// RSASSA-PKCS1-v1_5 with SHA-256, by the Web Cryptography API.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rs256;

impl Rs256 {
    /// The signature of `input` by a private key in PKCS#8 (DER). The key is imported for the call and cannot be read back.
    pub async fn rs256(&self, pkcs8_der: &[u8], input: &[u8]) -> Result<Vec<u8>, Failure> {
        signature(pkcs8_der, input).await.map_err(failure)
    }
}

async fn signature(pkcs8_der: &[u8], input: &[u8]) -> Result<Vec<u8>, JsValue> {
    let algorithm = Object::new();
    Reflect::set(&algorithm, &"name".into(), &NAME.into())?;
    Reflect::set(&algorithm, &"hash".into(), &HASH.into())?;
    let key = JsFuture::from(crypto::import_private_key(pkcs8_der, &algorithm)?).await?;
    let signature = JsFuture::from(crypto::sign(NAME, &key, input)?).await?;
    Ok(Uint8Array::new(&signature).to_vec())
}
