//! The files of the project, and what is known of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::scan::Cited;
use crate::spec::Spec;
use crate::text::Text;

/// Folders that git does not keep.
const NOT_OURS: [&str; 3] = ["build", "data", "target"];

/// Kept as it was recorded, with the notes of those who recorded it: its files may be cited, its texts are not read.
const RECORDED: &str = "tests/reference/";

/// A folder that appears when a test fails.
const MADE: &str = "tests/simulation/failures";

const EXTENSIONS: [&str; 7] = [".rs", ".mjs", ".js", ".toml", ".sql", ".sh", ".md"];

/// One file, by its path from the top.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) content: String,
}

/// All texts of the project, and the names of all files and folders.
pub(crate) struct Project {
    files: Vec<File>,
    names: BTreeSet<String>,
    spec: Spec,
}

impl Project {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let mut project = Self { files: Vec::new(), names: BTreeSet::new(), spec: Spec::default() };
        project.walk(root, "");
        project.read_spec();
        project
    }

    /// A project of these files only.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut project = Self { files: Vec::new(), names: BTreeSet::new(), spec: Spec::default() };
        for (path, content) in files {
            project.names.insert((*path).to_owned());
            project.files.push(File { path: (*path).to_owned(), content: (*content).to_owned() });
        }
        project.read_spec();
        project
    }

    fn walk(&mut self, root: &Path, folder: &str) {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if name.starts_with('.') || name == "node_modules" {
                continue;
            }
            self.names.insert(path.clone());
            if entry.file_type().unwrap().is_dir() {
                if !NOT_OURS.contains(&path.as_str()) {
                    self.walk(root, &path);
                }
            } else if !path.starts_with(RECORDED) && EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
                self.files.push(File { content: fs::read_to_string(entry.path()).unwrap(), path });
            }
        }
    }

    fn read_spec(&mut self) {
        for file in &self.files {
            if let Some(name) = file.path.strip_prefix("docs/spec/") {
                self.spec.add(name, &file.content);
            }
        }
    }

    /// Every text, but for the one that is full of bad citations on purpose.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| !file.path.starts_with("tests/citations/tests/"))
    }

    pub(crate) fn content(&self, path: &str) -> &str {
        &self.files.iter().find(|file| file.path == path).unwrap().content
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Says why a citation leads nowhere.
    pub(crate) fn resolve(&self, text: &Text, cited: &Cited) -> Result<(), &'static str> {
        match cited {
            Cited::Section { document, .. } if !self.spec.has_document(document) => Err("is not in docs/spec"),
            Cited::Section { document, number } if !self.spec.has_section(document, number) => Err("no such heading"),
            Cited::Decision(id) if !self.spec.has_decision(id) => Err("no such decision"),
            Cited::File(path) if !self.has_file(text, path) => Err("no such file"),
            Cited::Nameless(_) => Err("name the document"),
            _ => Ok(()),
        }
    }

    /// Whether there is such a file or folder: from the top, beside the text, or anywhere by the end of its path.
    fn has_file(&self, text: &Text, path: &str) -> bool {
        let beside = format!("{}/{path}", text.folder());
        let end = format!("/{path}");
        path == MADE
            || self.names.contains(path)
            || self.names.contains(&beside)
            || self.names.iter().any(|name| name.ends_with(&end))
    }
}
