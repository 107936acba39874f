use super::*;

fn parsed(url: &str) -> Option<(String, String)> {
    Repository::parse(url).ok().map(|repository| (repository.owner, repository.name))
}

#[test]
fn the_recorded_forms_of_a_repository() {
    let app = Some(("acme".to_owned(), "u1".to_owned()));
    for url in [
        "https://github.com/acme/u1",
        "https://github.com/acme/u1.git",
        "http://github.com/acme/u1",
        "git@github.com:acme/u1.git",
        "git@github.com:acme/u1",
        "ssh://git@github.com/acme/u1.git/",
        " https://github.com/acme/u1.git/ ",
    ] {
        assert_eq!(parsed(url), app, "{url}");
    }
    assert_eq!(parsed("https://github.com/Acme/My.App_1"), Some(("Acme".to_owned(), "My.App_1".to_owned())));
    for (url, error) in [
        ("https://GitHub.com/acme/u5", RepositoryError::NotGitHub),
        ("https://gitlab.com/acme/u6", RepositoryError::NotGitHub),
        ("not a url", RepositoryError::NotGitHub),
        ("https://github.com/acme", RepositoryError::Path),
        ("https://github.com/acme/u9/tree/main", RepositoryError::Path),
        ("https://www.github.com/acme/u10", RepositoryError::NotGitHub),
        ("github.com/acme/u11", RepositoryError::NotGitHub),
        (" ", RepositoryError::Blank),
        ("https://github.com.evil.example/acme/app", RepositoryError::NotGitHub),
        ("https://github.com@evil.example/acme/app", RepositoryError::NotGitHub),
        ("git@github.com:acme/app/", RepositoryError::Path),
        ("https://github.com/acme/app//", RepositoryError::Path),
        ("https://github.com//app", RepositoryError::Owner),
        ("https://github.com/acme/", RepositoryError::Path),
        ("https://github.com/acme/.git", RepositoryError::Name),
        ("https://github.com/../app", RepositoryError::Owner),
        ("https://github.com/acme/..", RepositoryError::Name),
        ("https://github.com/acme/a?x=1", RepositoryError::Name),
        ("https://github.com/acme/a%2Fb", RepositoryError::Name),
        ("https://github.com/acme/$(id)", RepositoryError::Name),
        ("https://github.com/acme/a\nb", RepositoryError::Name),
    ] {
        assert_eq!(Repository::parse(url), Err(error), "{url}");
    }
}

#[test]
fn the_limits_of_a_repository_url() {
    let name = "n".repeat(MAX_NAME_CHARS);
    assert!(Repository::parse(&format!("https://github.com/acme/{name}")).is_ok());
    assert_eq!(Repository::parse(&format!("https://github.com/acme/{name}n")), Err(RepositoryError::Name));
    assert_eq!(Repository::parse(&"u".repeat(MAX_URL_BYTES)), Err(RepositoryError::NotGitHub));
    assert_eq!(Repository::parse(&"u".repeat(MAX_URL_BYTES + 1)), Err(RepositoryError::TooLong));
}

#[test]
fn the_recorded_names_of_branches() {
    for (text, name) in [
        ("dev", "dev"),
        ("feature/x", "feature/x"),
        ("  spaced  ", "spaced"),
        ("refs/heads/ok", "refs/heads/ok"),
        ("v@1", "v@1"),
        ("a+b#2", "a+b#2"),
        ("m14/branch", "m14/branch"),
    ] {
        assert_eq!(BranchName::wish(Some(text)).as_ref().map(BranchName::as_str), Some(name), "{text}");
    }
    for (text, error) in [
        ("HEAD", BranchError::Reserved),
        ("@", BranchError::Reserved),
        ("a b", BranchError::Character),
        ("a..b", BranchError::Character),
        ("/x", BranchError::Edge),
        ("x/", BranchError::Edge),
        (".x", BranchError::Edge),
        ("x.", BranchError::Edge),
        ("a~1", BranchError::Character),
        ("a^", BranchError::Character),
        ("a:b", BranchError::Character),
        ("a?b", BranchError::Character),
        ("a*", BranchError::Character),
        ("a[b", BranchError::Character),
        ("a]b", BranchError::Character),
        ("a\\b", BranchError::Character),
        ("a@{b", BranchError::Character),
        ("", BranchError::Blank),
        ("x.lock", BranchError::Part),
        ("x.lock/y", BranchError::Part),
        ("x/.y", BranchError::Part),
        ("-dash", BranchError::Edge),
        ("a//b", BranchError::Character),
        ("x'y", BranchError::Character),
        ("x;id", BranchError::Character),
        ("größe", BranchError::Character),
        ("refs/heads/../x", BranchError::Character),
    ] {
        assert_eq!(BranchName::parse(text), Err(error), "{text}");
    }
}

#[test]
fn the_limit_of_a_branch_name() {
    assert!(BranchName::parse(&"b".repeat(MAX_BRANCH_CHARS)).is_ok());
    assert_eq!(BranchName::parse(&"b".repeat(MAX_BRANCH_CHARS + 1)), Err(BranchError::TooLong));
}

#[test]
fn a_requested_head_is_absent_valid_or_an_error() {
    assert_eq!(requested_head(None), Ok(None));
    assert_eq!(requested_head(Some("  ")), Ok(None));
    assert_eq!(requested_head(Some(" spaced/name ")), Ok(Some(BranchName::unchecked("spaced/name"))));
    assert_eq!(requested_head(Some("bad name")), Err(BranchError::Character));
    assert_eq!(requested_head(Some("HEAD")), Err(BranchError::Reserved));
    assert_eq!(first_valid([Some("a b"), None, Some("dev")]), Some(BranchName::unchecked("dev")));
}

#[test]
fn a_list_of_branches_is_cleaned_and_bounded() {
    let names = |list: Vec<BranchName>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(branch_list(["b", "a", "b", "bad name", "x..y", " trimmed "])), ["b", "a", "trimmed"]);
    let many: Vec<String> = (0..=MAX_BRANCHES).map(|number| format!("b{number}")).collect();
    assert_eq!(branch_list(many.iter().map(String::as_str)).len(), MAX_BRANCHES);
}

#[test]
fn names_of_directories() {
    for (url, name) in [
        (Some("https://github.com/acme/My.App"), "my-app"),
        (Some("https://gitlab.com/acme/Other.git/"), "other"),
        (Some("https://gitlab.com/acme/../.."), "task"),
        (Some(" "), "repo"),
        (None, "repo"),
    ] {
        assert_eq!(directory_name(url), name, "{url:?}");
    }
    assert_eq!(sandbox_directory(Some("git@github.com:acme/app.git")), "/home/user/workspace/app");
    assert_eq!(sanitize_name("--A  b/../c--"), "a-b-c");
    assert_eq!(sanitize_name("$(id)"), "id");
    assert_eq!(sanitize_name("é"), "task");
    assert_eq!(sanitize_name(&"x".repeat(100)).len(), 63);
}

#[test]
fn keys_of_checkpoints() {
    assert_eq!(checkpoint_key("git@github.com:Acme/App.git").as_deref(), Some("github/acme/app"));
    assert_eq!(checkpoint_key("https://GitLab.com/A/b").as_deref(), Some("https://gitlab.com/a/b"));
    assert_eq!(checkpoint_key(" "), None);
}

#[test]
fn addresses() {
    let repository = Repository::parse("https://github.com/acme/pub").unwrap();
    let branch = |name| BranchName::parse(name).unwrap();
    assert_eq!(
        manual_pull_request_url(&repository, Some(&branch("main")), &branch("m14/branch")),
        "https://github.com/acme/pub/pull/new/main...m14%2Fbranch"
    );
    assert_eq!(
        manual_pull_request_url(&repository, None, &branch("v@1+#2")),
        "https://github.com/acme/pub/pull/new/main...v%401%2B%232"
    );
    assert_eq!(
        open_pull_requests_path(&repository, &branch("m14/branch"), Some(&branch("trunk"))),
        "/repos/acme/pub/pulls?state=open&head=acme%3Am14%2Fbranch&base=trunk"
    );
    assert_eq!(
        open_pull_requests_path(&repository, &branch("w"), None),
        "/repos/acme/pub/pulls?state=open&head=acme%3Aw"
    );
    assert_eq!(
        install_url(Some("app-under-test")).as_deref(),
        Some("https://github.com/apps/app-under-test/installations/new")
    );
    assert_eq!(install_url(Some(" ")), None);
    assert_eq!(repository.remote_url(), "https://github.com/acme/pub.git");
    assert_eq!(web::url::encode("a b/!~*'()é"), "a%20b%2F!~*'()%C3%A9");
}
