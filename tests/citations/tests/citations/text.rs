//! A file as one running text: citations that a line break cuts in two are whole again.

/// The lines of a file without indentation and comment markers, joined by spaces.
pub(crate) struct Text {
    path: String,
    joined: String,
    /// Where each line begins in the joined text, and whether it is prose: a comment, or Markdown.
    lines: Vec<(usize, bool)>,
}

impl Text {
    pub(crate) fn new(path: &str, content: &str) -> Self {
        let markers: &[&str] = match extension(path) {
            "rs" | "mjs" | "js" => &["//!", "///", "//", "* "],
            "toml" | "sh" => &["#"],
            "sql" => &["--"],
            _ => &[],
        };
        let markdown = extension(path) == "md";
        let mut joined = String::with_capacity(content.len());
        let mut lines = Vec::new();
        for line in content.lines() {
            let line = line.trim();
            let comment = markers.iter().find_map(|marker| line.strip_prefix(marker));
            lines.push((joined.len(), markdown || comment.is_some()));
            joined.push_str(comment.unwrap_or(line).trim_start());
            joined.push(' ');
        }
        Self { path: path.to_owned(), joined, lines }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.joined
    }

    pub(crate) fn extension(&self) -> &str {
        extension(&self.path)
    }

    /// The name of the document, where this is one of the specification.
    pub(crate) fn spec_name(&self) -> Option<&str> {
        self.path.strip_prefix("docs/spec/")
    }

    /// The folder that the file is in.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The number of the line, from 1, that holds this place.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|(start, _)| *start <= at)
    }

    pub(crate) fn is_prose(&self, at: usize) -> bool {
        self.lines[self.line(at) - 1].1
    }
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}
