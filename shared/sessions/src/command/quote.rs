//! Arguments as text for bash (agents.md 5.2). This is the only place where a value becomes a part of a shell's text.

/// Why something cannot be said in the language of bash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// A text without a program would be no command.
    #[error("the command is empty")]
    Empty,
    /// No argument can hold NUL.
    #[error("an argument holds a NUL character")]
    Nul,
    /// Bash would take the first word for an assignment or an option of its own.
    #[error("the program has a name that bash would not look up")]
    Program,
    /// Bash cannot assign to a variable of this name.
    #[error("a variable has a name that bash cannot assign to")]
    Variable,
}

/// A program and its arguments as one line for bash, each word in single quotes. Nothing has a meaning within them but the
/// quote itself, which is closed, said in double quotes, and opened again.
pub fn quote<T: AsRef<str>>(words: &[T]) -> Result<String, QuoteError> {
    match words.first().map(AsRef::as_ref) {
        None | Some("") => return Err(QuoteError::Empty),
        Some(program) if program.starts_with('-') => return Err(QuoteError::Program),
        Some(_) => {}
    }
    // The number and the length of the words are those of the command, which are bounded.
    let quoted: Result<Vec<String>, QuoteError> = words.iter().map(|word| quote_word(word.as_ref())).collect();
    Ok(quoted?.join(" "))
}

/// `NAME='value'`, which bash puts into the environment of the command that follows.
pub(super) fn assignment(name: &str, value: &str) -> Result<String, QuoteError> {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name =
        name.bytes().next().is_some_and(is_first) && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit());
    if !is_name {
        return Err(QuoteError::Variable);
    }
    Ok(format!("{name}={}", quote_word(value)?))
}

fn quote_word(word: &str) -> Result<String, QuoteError> {
    if word.contains('\0') {
        return Err(QuoteError::Nul);
    }
    Ok(format!("'{}'", word.replace('\'', r#"'"'"'"#)))
}
