//! Where a request carries its token.

/// The token of a request (sync.md 3.1): what follows an exact `Bearer ` in the `Authorization` header, else the query
/// parameter `token`. A header of another scheme counts as none.
pub fn token_from_request<'a>(authorization: Option<&'a str>, query_token: Option<&'a str>) -> Option<&'a str> {
    authorization.and_then(|header| header.strip_prefix("Bearer ")).or(query_token)
}
