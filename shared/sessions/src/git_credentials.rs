//! What git asks its credential helper, and what it is told (agents.md 20.6): lines of `key=value`, as `git help git-credential` describes
//! them.

use crate::repository::Repository;

/// The longest question, in bytes. git adds the headers by which a server has asked for credentials.
pub const MAX_QUESTION_BYTES: usize = 16 << 10;
const HOST: &str = "github.com";

/// Whether a question is for exactly this repository over HTTPS. One that names something twice, or as a whole URL, is for nothing: git
/// does not ask so, and what counts then is unclear.
pub fn is_for(question: &[u8], repository: &Repository) -> bool {
    let Ok(text) = std::str::from_utf8(question) else { return false };
    let (mut protocol, mut host, mut path) = (None, None, None);
    // At most as many lines as the question has bytes.
    for line in text.split('\n').take_while(|line| !line.is_empty()) {
        let Some((key, value)) = line.split_once('=') else { return false };
        let place = match key {
            "protocol" => &mut protocol,
            "host" => &mut host,
            "path" => &mut path,
            "url" => return false,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return false;
        }
    }
    let names = path.and_then(|path| path.strip_suffix(".git").unwrap_or(path).split_once('/'));
    // GitHub makes no difference between upper and lower case.
    let is_same = names.is_some_and(|(owner, name)| {
        owner.eq_ignore_ascii_case(repository.owner()) && name.eq_ignore_ascii_case(repository.name())
    });
    protocol == Some("https") && host == Some(HOST) && is_same
}

/// What git is told: the token, and until when it counts (milliseconds since 1970).
pub fn answer(token: &str, expires_at: i64) -> String {
    let seconds = expires_at.div_euclid(1_000);
    format!("protocol=https\nhost={HOST}\nusername=x-access-token\npassword={token}\npassword_expiry_utc={seconds}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_repository_of_the_session_is_asked_for() {
        let repository = Repository::parse("https://github.com/acme/project").unwrap();
        let is_for = |question: &str| is_for(question.as_bytes(), &repository);
        for right in [
            "protocol=https\nhost=github.com\npath=acme/project.git\n",
            "protocol=https\nhost=github.com\npath=acme/project\n\n",
            "capability[]=authtype\nprotocol=https\nhost=github.com\npath=Acme/Project.git\nwwwauth[]=Basic realm=\"GitHub\"\n",
            "path=acme/project.git\nhost=github.com\nprotocol=https\nusername=x-access-token\n",
        ] {
            assert!(is_for(right), "{right}");
        }
        for wrong in [
            "",
            "\nprotocol=https\nhost=github.com\npath=acme/project.git\n",
            "protocol=https\nhost=github.com\n",
            "protocol=https\nhost=github.com\npath=\n",
            "protocol=https\nhost=github.com\npath=acme/other.git\n",
            "protocol=https\nhost=github.com\npath=other/project.git\n",
            "protocol=https\nhost=github.com\npath=acme/project.git.git\n",
            "protocol=https\nhost=github.com\npath=acme/project.git/info/lfs\n",
            "protocol=https\nhost=github.com\npath=/acme/project.git\n",
            "protocol=https\nhost=github.com\npath=acme/../acme/project.git\n",
            "protocol=https\nhost=github.com\npath=acme%2Fproject.git\n",
            "protocol=http\nhost=github.com\npath=acme/project.git\n",
            "protocol=https\nhost=github.com.evil.example\npath=acme/project.git\n",
            "protocol=https\nhost=evil.example\npath=acme/project.git\n",
            "protocol=https\nhost=github.com:444\npath=acme/project.git\n",
            "protocol=https\nhost=api.github.com\npath=acme/project.git\n",
            "protocol=https\nhost=github.com\npath=acme/project.git\nhost=evil.example\n",
            "protocol=https\nhost=github.com\npath=acme/other.git\npath=acme/project.git\n",
            "url=https://github.com/acme/other\nprotocol=https\nhost=github.com\npath=acme/project.git\n",
            "protocol=https\nhost=github.com\r\npath=acme/project.git\n",
            "protocol=https\nhost=github.com\npath=acme/project.git\0\n",
            "protocol=https\nno line of ours\nhost=github.com\npath=acme/project.git\n",
            "protocol=https\n\nhost=github.com\npath=acme/project.git\n",
        ] {
            assert!(!is_for(wrong), "{wrong:?}");
        }
        assert!(!super::is_for(b"protocol=https\nhost=github.com\npath=acme/project.git\nx=\xff\n", &repository));
    }

    #[test]
    fn git_is_told_in_its_own_form() {
        assert_eq!(
            answer("ghs_1", 1_700_000_000_999),
            "protocol=https\nhost=github.com\nusername=x-access-token\npassword=ghs_1\npassword_expiry_utc=1700000000\n"
        );
    }
}
