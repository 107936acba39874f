//! Commands about the working tree of a session (agents.md 5.3.10, 20.2). Each text is a constant, and each writes what it found in
//! lines or fields of its own, which [`crate::workspace`] reads.

use super::{Command, CommandError};
use crate::publish::CommitId;
use crate::workspace::{Bundle, RelativePath};

/// How long looking at the tree may take, in seconds.
const LOOK_SECONDS: u64 = 10;
/// How long it may take to make or to bring back a bundle, in seconds.
const BUNDLE_SECONDS: u64 = 90;
/// How long listing a folder and making a diff may take, in seconds.
const SHOW_SECONDS: u64 = 30;
/// Bytes of one piece of a bundle: so many are held in memory at once.
pub const PIECE_BYTES: usize = 4 << 20;

/// Goes to the repository; where there is none, says so and ends. The copy of the index keeps its time: by that git knows which files may
/// have changed in the same second in which it was written.
macro_rules! enter {
    () => {
        r#"cd -- "$AGENT_DIR" 2>/dev/null && [ "$(git rev-parse --is-inside-work-tree 2>/dev/null)" = true ] && [ -z "$(git rev-parse --show-prefix)" ] || { echo 'agent-tree none'; exit 0; }
set -e
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
index=$(git rev-parse --git-path index)
[ ! -f "$index" ] || cp -p -- "$index" "$scratch/index"
head=$(git rev-parse --verify --quiet 'HEAD^{commit}' || true)
branch=$(git symbolic-ref --quiet --short HEAD || true)
"#
    };
}

/// New objects go to a folder that is removed afterwards, so that looking changes nothing in the repository.
macro_rules! leave_no_objects {
    () => {
        r#"mkdir -- "$scratch/objects"
ln -s -- "$(cd -- "$(git rev-parse --git-path objects)" && pwd -P)" "$scratch/all"
export GIT_OBJECT_DIRECTORY=$scratch/objects GIT_ALTERNATE_OBJECT_DIRECTORIES=$scratch/all
"#
    };
}

/// The whole tree as one object: what is committed, changed and untracked, but not what is ignored. Index and branch stay as they are.
macro_rules! whole_tree {
    () => {
        r#"GIT_INDEX_FILE=$scratch/index git add --all --ignore-errors -- . >/dev/null 2>&1 || true
tree=$(GIT_INDEX_FILE=$scratch/index git write-tree)
if [ -n "$head" ]; then clean=$(git rev-parse "$head^{tree}"); else clean=$(git hash-object -t tree /dev/null); fi
"#
    };
}

/// A text over the repository. No program that its settings name runs but for filters of its files, which belong to its content.
fn in_repository(text: &'static str, values: &[(&'static str, &str)]) -> Result<Command, CommandError> {
    const SETTINGS: [(&str, &str); 12] = [
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_CONFIG_COUNT", "5"),
        ("GIT_CONFIG_KEY_0", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_0", "/dev/null"),
        ("GIT_CONFIG_KEY_1", "core.fsmonitor"),
        ("GIT_CONFIG_VALUE_1", "false"),
        ("GIT_CONFIG_KEY_2", "commit.gpgSign"),
        ("GIT_CONFIG_VALUE_2", "false"),
        ("GIT_CONFIG_KEY_3", "core.quotePath"),
        ("GIT_CONFIG_VALUE_3", "false"),
        ("GIT_CONFIG_KEY_4", "gc.auto"),
        ("GIT_CONFIG_VALUE_4", "0"),
    ];
    Command::script(text, &[values, &SETTINGS].concat())
}

/// Looks at the tree; [`crate::workspace::Look::parse`] reads the output. `pushed` are commits that this session has pushed.
pub fn look(directory: &str, pushed: &[CommitId]) -> Result<Command, CommandError> {
    const TEXT: &str = concat!(
        enter!(),
        leave_no_objects!(),
        whole_tree!(),
        r#"set --
for id in $AGENT_PUSHED; do
  if git cat-file -e "$id^{commit}" 2>/dev/null; then set -- "$@" "$id"; fi
done
changed=0
[ "$tree" = "$clean" ] || changed=1
if [ -n "$head" ] && [ -n "$(git rev-list --max-count=1 "$head" --not --remotes "$@")" ]; then changed=1; fi
printf 'agent-tree %s %s %s %s\n' "${head:--}" "$tree" "$changed" "${branch:--}""#
    );
    let pushed: Vec<&str> = pushed.iter().map(CommitId::as_str).collect();
    let command = in_repository(TEXT, &[("AGENT_DIR", directory), ("AGENT_PUSHED", &pushed.join(" "))])?;
    Ok(command.within(LOOK_SECONDS))
}

/// Makes a bundle of what no remote has, of at most `limit` bytes, in pieces below `store`;
/// [`crate::workspace::Bundled::parse`] reads the output. The commit of what is not committed has always the same time, so that the same
/// tree gives the same commit.
pub fn bundle(directory: &str, limit: usize, store: &str) -> Result<Command, CommandError> {
    const TEXT: &str = concat!(
        enter!(),
        whole_tree!(),
        r#"wip=
if [ "$tree" != "$clean" ]; then
  export GIT_AUTHOR_NAME='Logseq Agent' GIT_AUTHOR_EMAIL=agent@logseq.local GIT_AUTHOR_DATE='@946684800 +0000'
  export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL" GIT_COMMITTER_DATE="$GIT_AUTHOR_DATE"
  set --
  [ -z "$head" ] || set -- -p "$head"
  wip=$(git commit-tree "$tree" "$@" -m 'Uncommitted changes')
  git update-ref refs/agents/wip "$wip"
else
  git update-ref -d refs/agents/wip
fi
set --
[ -z "$head" ] || set -- HEAD
[ -z "$wip" ] || set -- "$@" refs/agents/wip
if [ "$#" = 0 ] || [ -z "$(git rev-list --max-count=1 "$@" --not --remotes)" ]; then echo 'agent-bundle empty'; exit 0; fi
git bundle create --quiet "$scratch/bundle" "$@" --not --remotes >/dev/null 2>&1
size=$(wc -c <"$scratch/bundle")
if [ "$size" -gt "$AGENT_LIMIT" ]; then echo "agent-bundle too-large $size"; exit 0; fi
rm -rf -- "$AGENT_STORE"
mkdir -p -- "$AGENT_STORE"
split -b "$AGENT_PIECE" -d -a 3 -- "$scratch/bundle" "$AGENT_STORE/piece."
sum=$(sha256sum <"$scratch/bundle")
printf 'agent-bundle %s %s %s %s %s %s\n' "${sum%% *}" "$size" "${head:--}" "$tree" "${wip:--}" "${branch:--}""#
    );
    let (limit, piece) = (limit.to_string(), PIECE_BYTES.to_string());
    let values = [("AGENT_DIR", directory), ("AGENT_LIMIT", &limit), ("AGENT_PIECE", &piece), ("AGENT_STORE", store)];
    Ok(in_repository(TEXT, &values)?.within(BUNDLE_SECONDS))
}

/// Removes the pieces of a bundle.
pub fn drop_bundle(store: &str) -> Result<Command, CommandError> {
    Command::script(r#"rm -rf -- "$AGENT_STORE""#, &[("AGENT_STORE", store)])
}

/// Brings a bundle back, whose pieces lie below `store`, into a repository that was cloned. What it builds on is fetched first: the
/// clone is shallow. What was not committed comes back as that. Exit code 0 and the line `agent-restored` say that it is done.
pub fn restore(directory: &str, bundle: &Bundle, store: &str) -> Result<Command, CommandError> {
    const TEXT: &str = concat!(
        enter!(),
        r#"cat -- "$AGENT_STORE"/piece.* >"$scratch/bundle"
rm -rf -- "$AGENT_STORE"
sum=$(sha256sum <"$scratch/bundle")
[ "${sum%% *}" = "$AGENT_SHA256" ]
while IFS= read -r line && [ -n "$line" ]; do
  case $line in -*) id=${line#-}; id=${id%% *} ;; *) continue ;; esac
  case $id in ''|*[!0-9a-f]*) exit 1 ;; esac
  if git cat-file -e "$id^{commit}" 2>/dev/null; then git update-ref "refs/agents/base/$id" "$id"
  else git fetch --quiet --no-tags --depth 1 -- origin "+$id:refs/agents/base/$id"; fi
done <"$scratch/bundle"
git bundle verify --quiet "$scratch/bundle" >/dev/null
git bundle unbundle "$scratch/bundle" >/dev/null
if [ -n "$AGENT_HEAD" ]; then
  if [ -n "$AGENT_BRANCH" ]; then git checkout --quiet --force -B "$AGENT_BRANCH" "$AGENT_HEAD" --
  else git checkout --quiet --force --detach "$AGENT_HEAD" --; fi
fi
if [ -n "$AGENT_WIP" ]; then
  git read-tree --reset -u "$AGENT_WIP"
  if [ -n "$AGENT_HEAD" ]; then git read-tree "$AGENT_HEAD"; else git read-tree --empty; fi
  git update-index --refresh >/dev/null 2>&1 || true
fi
git for-each-ref --format='delete %(refname)' refs/agents | git update-ref --stdin
echo agent-restored"#
    );
    let (head, branch) = (bundle.tree.head.as_deref(), bundle.tree.branch.as_deref());
    let values = [
        ("AGENT_DIR", directory),
        ("AGENT_STORE", store),
        ("AGENT_SHA256", &bundle.sha256),
        ("AGENT_HEAD", head.unwrap_or_default()),
        ("AGENT_BRANCH", branch.unwrap_or_default()),
        ("AGENT_WIP", bundle.wip.as_deref().unwrap_or_default()),
    ];
    Ok(in_repository(TEXT, &values)?.within(BUNDLE_SECONDS))
}

/// Resolves a path and says what is there; of a folder, what it holds. [`crate::workspace::Found::parse`] reads the output. Links are
/// followed as long as they stay within the directory.
pub fn list(directory: &str, path: &RelativePath, most: usize) -> Result<Command, CommandError> {
    const TEXT: &str = r#"cd -- "$AGENT_DIR" 2>/dev/null || { echo 'agent-file missing'; exit 0; }
root=$(pwd -P; printf x)
root=${root%?x}
real=$(realpath -ez -- "./$AGENT_PATH" 2>/dev/null | tr '\0' '\n'; printf x)
real=${real%x}
real=${real%$'\n'}
case $real/ in
  /) echo 'agent-file missing'; exit 0 ;;
  "$root"/.git/*) echo 'agent-file missing'; exit 0 ;;
  "$root"/*) ;;
  *) echo 'agent-file outside'; exit 0 ;;
esac
if [ -d "$real" ]; then
  echo 'agent-file dir'
  cd -- "$real"
  find . -mindepth 1 -maxdepth 1 ! -name .git \( -type f -o -type d -o -type l \) -printf '%f/%y/%s/%T@\0' | LC_ALL=C sort -z | head -z -n "$AGENT_MOST"
elif [ -f "$real" ]; then
  echo "agent-file file $(stat -c %s -- "$real")"
else
  echo 'agent-file missing'
fi"#;
    let most = most.to_string();
    let values = [("AGENT_DIR", directory), ("AGENT_PATH", path.as_str()), ("AGENT_MOST", &most)];
    Ok(Command::script(TEXT, &values)?.within(SHOW_SECONDS))
}

/// What was changed since the session's work left the base branch, with everything that is not committed. Where the clone is too
/// shallow to tell, the oldest commit that it has is the base.
/// [`crate::workspace::Diff::parse`] reads the output. No program that the repository names makes the texts of it.
pub fn diff(directory: &str, base: Option<&str>, files: usize, bytes: usize) -> Result<Command, CommandError> {
    const TEXT: &str = concat!(
        enter!(),
        leave_no_objects!(),
        whole_tree!(),
        r#"base=
for ref in ${AGENT_BASE:+"refs/remotes/origin/$AGENT_BASE"} refs/remotes/origin/HEAD ${AGENT_BASE:+"refs/heads/$AGENT_BASE"}; do
  base=$(git rev-parse --verify --quiet "$ref^{commit}" || true)
  [ -z "$base" ] || break
done
if [ -z "$head" ]; then base=$clean
elif [ -z "$base" ]; then base=$head
else
  fork=$(git merge-base "$head" "$base" || true)
  if [ -z "$fork" ] && [ "$(git rev-parse --is-shallow-repository)" = true ]; then fork=$(git rev-list --max-parents=0 "$head" | tail -n 1); fi
  base=${fork:-$base}
fi
compare() { git diff-tree -r --no-renames --no-color --no-ext-diff --no-textconv "$@" "$base" "$tree" --; }
printf 'agent-diff %s %s\n' "$base" "${head:--}"
compare -z --name-status | head -z -n "$((AGENT_FILES * 2))"
printf '\0'
compare -z --numstat | head -z -n "$AGENT_FILES"
printf '\0'
compare -p --full-index | head -c "$AGENT_BYTES""#
    );
    let (files, bytes) = (files.to_string(), bytes.to_string());
    let values = [
        ("AGENT_DIR", directory),
        ("AGENT_BASE", base.unwrap_or_default()),
        ("AGENT_FILES", &files),
        ("AGENT_BYTES", &bytes),
    ];
    Ok(in_repository(TEXT, &values)?.within(SHOW_SECONDS))
}
