//! What a session asks of GitHub (agents.md 2.6.10, 3.6, 9).

use super::{Platform, Session};
use crate::error::Error;
use crate::github::{GitHub, Installation};
use crate::repository::{BranchName, Repository};
use crate::task::Task;

impl<P: Platform> Session<P> {
    pub(super) fn github(&self) -> GitHub<'_, P::Fetch, P::Sign, P> {
        let platform = &self.platform;
        GitHub::new(platform.fetch(), platform.sign(), platform, &self.settings.github, platform.tokens())
    }

    /// Whether the App is installed where the task works (agents.md 9.4). Other hosts need none, and neither does a deployment
    /// without an App (agents.md 14.2).
    pub(super) async fn check_installation(&self, task: &Task) -> Result<(), Error> {
        let Some(repository) = github_repository(task.repo_url()) else { return Ok(()) };
        if !self.settings.github.is_configured() {
            return Ok(());
        }
        match self.github().installation(&repository).await {
            Ok(Installation::Installed(_)) => Ok(()),
            Ok(Installation::Missing { install_url }) => Err(Error::NotInstalled { install_url }),
            Err(error) => Err(Error::InstallationCheck(error.to_string())),
        }
    }

    /// The repository's default branch, if it can be found out.
    pub(super) async fn default_branch(&self, task: &Task) -> Option<BranchName> {
        let repository = github_repository(task.repo_url())?;
        let github = self.github();
        // Without a token public repositories can still be asked about (B11).
        let token = if self.settings.github.is_configured() { github.token(&repository).await.ok() } else { None };
        github
            .default_branch(&repository, token.as_deref())
            .await
            .and_then(|name| BranchName::wish(Some(name.as_str())))
    }

    /// A token for the session's repository; none where there is none to have.
    pub(super) async fn repository_token(&self, url: &str) -> Result<Option<String>, Error> {
        let Some(repository) = github_repository(Some(url)) else { return Ok(None) };
        if !self.settings.github.is_configured() {
            return Ok(None);
        }
        let token = self.github().token(&repository).await;
        token.map(Some).map_err(|error| Error::Internal(error.to_string()))
    }

    /// The names of a repository's branches.
    pub(super) async fn branches(&self, url: &str) -> Result<Vec<String>, Error> {
        let repository = Repository::parse(url).map_err(|error| Error::Internal(error.to_string()))?;
        let github = self.github();
        let token = github.token(&repository).await.map_err(|error| Error::Internal(error.to_string()))?;
        let names = github.branches(&repository, &token).await;
        Ok(names.iter().map(|name| name.as_str().to_owned()).collect())
    }
}

fn github_repository(url: Option<&str>) -> Option<Repository> {
    url.and_then(|url| Repository::parse(url).ok())
}
