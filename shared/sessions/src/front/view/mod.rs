//! Pages for people (agents.md 20.9). They know nothing themselves: their script uses the other routes with the reader's token.

use std::sync::OnceLock;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};
use sha2::{Digest as _, Sha256};
use web::ResponseBody;

use crate::error::Error;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Nothing is loaded from elsewhere, nothing is written into the page as code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the pages load, by name. `marked.js` is the library `marked`, as it is published. A static: of a constant each place that
/// uses it has a copy of the texts, which the module has no room for.
static ASSETS: [(&str, &str, &str); 11] = [
    ("api.js", SCRIPT, include_str!("assets/api.js")),
    ("changes.js", SCRIPT, include_str!("assets/changes.js")),
    ("dom.js", SCRIPT, include_str!("assets/dom.js")),
    ("entries.js", SCRIPT, include_str!("assets/entries.js")),
    ("list.js", SCRIPT, include_str!("assets/list.js")),
    ("log.js", SCRIPT, include_str!("assets/log.js")),
    ("markdown.js", SCRIPT, include_str!("assets/markdown.js")),
    ("marked.js", SCRIPT, include_str!("assets/marked.js")),
    ("session.js", SCRIPT, include_str!("assets/session.js")),
    ("style.css", STYLE, include_str!("assets/style.css")),
    ("token.js", SCRIPT, include_str!("assets/token.js")),
];
/// How every page begins, and what every page has before its end.
const HEAD: &str = include_str!("head.html");
const TOKEN: &str = include_str!("token.html");

/// A page or a file of the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The page of a session; which one, its script reads in the address.
    Session,
    /// The page of the caller's sessions.
    List,
    /// A file: the hash of all files, and its name.
    Asset(String, String),
}

/// The pages, made once.
struct Pages {
    hash: String,
    session: String,
    list: String,
}

fn pages() -> &'static Pages {
    static PAGES: OnceLock<Pages> = OnceLock::new();
    PAGES.get_or_init(|| {
        let mut hash = Sha256::new();
        for (name, _, text) in &ASSETS {
            hash.update(name);
            hash.update(text);
        }
        let mut hash = base16ct::lower::encode_string(&hash.finalize());
        hash.truncate(16);
        let page = |title: &str, script: &str, body: &str| {
            let head = HEAD.replace("ASSETS", &hash).replace("TITLE", title).replace("SCRIPT", script);
            head + &body.replace("</body>", &format!("{TOKEN}</body>"))
        };
        Pages {
            session: page("Session", "session.js", include_str!("session.html")),
            list: page("Sessions", "list.js", include_str!("list.html")),
            hash,
        }
    })
}

/// Answers for a page or a file. Nobody needs to be known for it: there is nothing of anybody in it.
///
/// # Errors
/// [`Error::NotFound`] for files that there are not; those of another version are none.
pub(super) fn answer<R: ResponseBody>(view: &View) -> Result<Response<R>, Error> {
    let pages = pages();
    let (content_type, text, cache) = match view {
        View::Session => (HTML, pages.session.as_str(), "no-store"),
        View::List => (HTML, pages.list.as_str(), "no-store"),
        View::Asset(hash, name) => {
            let found = ASSETS.iter().find(|(known, ..)| known == name).filter(|_| *hash == pages.hash);
            let (_, content_type, text) = found.ok_or(Error::NotFound)?;
            (*content_type, *text, "public, max-age=31536000, immutable")
        }
    };
    let mut response = Response::new(R::full(text.as_bytes().to_vec()));
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, cache),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_name_files_that_there_are() {
        for page in [&pages().session, &pages().list] {
            let mut found = 0;
            for part in page.split("/sessions/view/assets/").skip(1) {
                let (path, _) = part.split_once('"').unwrap();
                let (hash, name) = path.split_once('/').unwrap();
                assert!(ASSETS.iter().any(|(known, ..)| *known == name), "{path}");
                assert_eq!(hash, pages().hash);
                found += 1;
            }
            assert_eq!(found, 2);
            assert!(page.contains("token-dialog"));
        }
    }

    #[test]
    fn scripts_import_files_that_there_are() {
        for (name, _, text) in &ASSETS {
            for part in text.split(" from \"./").skip(1) {
                let (imported, _) = part.split_once('"').unwrap();
                assert!(ASSETS.iter().any(|(known, ..)| *known == imported), "{name}: {imported}");
            }
            let is_ours = *name != "marked.js";
            let writes_html = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
            assert!(!is_ours || writes_html.iter().all(|word| !text.contains(word)), "{name} makes code of texts");
        }
    }
}
