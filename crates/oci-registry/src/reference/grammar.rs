//! What repositories, tags and paths may consist of, by the distribution specification and by Linux.

use crate::{InvalidReference, RegistryHost};

/// The distribution specification's limit for host and repository together.
const MAX_NAME_LEN: usize = 255;
/// The distribution specification's limit.
const MAX_TAG_LEN: usize = 128;
/// What Linux accepts, less what is put below it.
const MAX_PATH_LEN: usize = 3072;

/// An absolute path, each name of it after one `/`.
fn checked_path(path: &str) -> Result<String, InvalidReference> {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let normal: String = names.clone().flat_map(|name| ["/", name]).collect();
    let valid = path.starts_with('/')
        && (1..=MAX_PATH_LEN).contains(&normal.len())
        && !normal.contains(char::is_control)
        && names.clone().all(|name| name != "..")
        && !names.next_back().unwrap_or_default().contains([':', '@']);
    if valid { Ok(normal) } else { Err(InvalidReference::Path(shortened(path))) }
}

/// Docker Hub keeps its official images under `library/`, which nobody writes.
pub(super) fn checked_repository(host: &RegistryHost, repository: &str) -> Result<String, InvalidReference> {
    if host.is_file_system() {
        return checked_path(repository);
    }
    let repository = if host.is_docker_hub() && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    let short = host.as_str().len() + 1 + repository.len() <= MAX_NAME_LEN;
    if short && repository.split('/').all(is_path_component) {
        Ok(repository)
    } else {
        Err(InvalidReference::Repository(shortened(&repository)))
    }
}

/// Runs of letters and digits with one separator between each: `.`, `_`, `__` or any number of `-`.
pub(crate) fn is_path_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator =
        |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-');
    let bytes = component.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.split(is_word).all(is_separator)
}

pub(crate) fn checked_tag(tag: &str) -> Result<String, InvalidReference> {
    let valid = (1..=MAX_TAG_LEN).contains(&tag.len())
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !tag.starts_with(['.', '-']);
    if valid { Ok(tag.to_owned()) } else { Err(InvalidReference::Tag(shortened(tag))) }
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(MAX_NAME_LEN).collect()
}
