//! Who is asking: JWT verification, key sets, static and none drivers, admin token, signed links.
