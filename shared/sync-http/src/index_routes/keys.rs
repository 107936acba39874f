//! Key material of end-to-end encryption (sync.md 4.7).

use index::{keys, users};
use protocol::bodies::Body as _;
use protocol::bodies::keys::{AccessGranted, GrantAccess, GraphKey, NO_KEYS, PublicKey, SetGraphKey, UserKeys};
use protocol::limits::EMAIL_CHARS;

use super::Call;
use crate::error::Error;
use crate::platform::Platform;

pub(super) async fn user_keys<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    Ok(match keys::rsa_pair(call.db, &call.user).await? {
        Some(keys::RsaPair { public_key: Some(public), encrypted_private_key: Some(private) }) => {
            UserKeys { public_key: public.into(), encrypted_private_key: private.into() }.to_json()
        }
        _ => NO_KEYS.to_owned(),
    })
}

pub(super) async fn set_user_keys<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let pair = UserKeys::parse(body)?;
    keys::upsert_rsa_pair(call.db, &call.user, &pair.public_key, &pair.encrypted_private_key, call.now_ms).await?;
    Ok(pair.to_json())
}

pub(super) async fn public_key<P: Platform>(call: &Call<'_, P>, email: Option<&str>) -> Result<String, Error> {
    // Nobody has an address that is longer than an address can be.
    let email = email.filter(|email| email.chars().count() <= EMAIL_CHARS);
    let Some(email) = email else { return Ok(NO_KEYS.to_owned()) };
    let key = keys::public_key_of(call.db, email).await?;
    Ok(key.map_or_else(|| NO_KEYS.to_owned(), |public_key| PublicKey { public_key }.to_json()))
}

pub(super) async fn graph_key<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    call.require_access().await?;
    let encrypted_aes_key = keys::graph_key(call.db, call.graph_id()?, &call.user).await?;
    Ok(GraphKey { encrypted_aes_key }.to_json())
}

pub(super) async fn set_graph_key<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let key = SetGraphKey::parse(body)?;
    let copy =
        keys::GraphKey { graph_id: call.graph_id()?, user_id: &call.user, encrypted_aes_key: &key.encrypted_aes_key };
    if !keys::set_graph_key(call.db, copy, call.now_ms).await? {
        return Err(Error::Forbidden);
    }
    Ok(key.to_json())
}

/// Stores copies of the graph's key for members; those who are unknown or have no access are named in the answer.
pub(super) async fn grant_access<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let wanted = GrantAccess::parse(body)?;
    call.require_manager().await?;
    let graph_id = call.graph_id()?;
    let mut missing = Vec::new();
    for grant in &wanted.grants {
        let stored = match users::id_by_email(call.db, &grant.email).await? {
            Some(user) => {
                let key = &grant.encrypted_aes_key;
                let copy = keys::GraphKey { graph_id, user_id: &user, encrypted_aes_key: key };
                keys::grant_graph_key(call.db, copy, &call.user, call.now_ms).await?
            }
            None => false,
        };
        if !stored {
            missing.push(grant.email.clone().into_owned());
        }
    }
    // Who was removed meanwhile has stored nothing since.
    if !missing.is_empty() {
        call.require_manager().await?;
    }
    Ok(AccessGranted::new(missing).to_json())
}
