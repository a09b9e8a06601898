//! Kernel arguments as sources write them: a JSON list of operations, of which only one can be done to an image.

use serde::Deserialize;

use super::UnexpectedJson;

/// Kernel arguments as the assisted installer's API writes them: `[{"operation": "append", "value": "quiet"}]`.
#[derive(Deserialize)]
struct KernelArgument {
    #[serde(default)]
    operation: String,
    #[serde(default)]
    value: String,
}

/// Why kernel arguments cannot be applied to an image. The messages are meant for the client.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKernelArguments {
    /// Not a list of operations and values.
    #[error("the kernel arguments are not a JSON list of operations and values")]
    Json(#[source] UnexpectedJson),
    /// Another operation than `append`.
    #[error(
        "kernel argument {position} has operation {operation:?}: only \"append\" can be done to an image"
    )]
    Operation {
        /// Which of the arguments, counted from 1.
        position: usize,
        /// The operation.
        operation: String,
    },
}

/// The values to append. JSON's null is an empty list, as in Go.
pub(super) fn parse(json: &[u8]) -> Result<Vec<String>, InvalidKernelArguments> {
    let arguments: Option<Vec<KernelArgument>> =
        serde_json::from_slice(json).map_err(|error| InvalidKernelArguments::Json(error.into()))?;
    let arguments = arguments.unwrap_or_default();
    let mut values = Vec::with_capacity(arguments.len());
    for (index, KernelArgument { operation, value }) in arguments.into_iter().enumerate() {
        if operation != "append" {
            return Err(InvalidKernelArguments::Operation { position: index + 1, operation });
        }
        values.push(value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::{InvalidKernelArguments, parse};

    #[test]
    fn values_keep_their_order() {
        let json = br#"[{"operation": "append", "value": "p1"}, {"operation": "append", "value": "p2=x"}]"#;
        assert_eq!(parse(json).unwrap(), ["p1", "p2=x"]);
        assert!(parse(b"[]").unwrap().is_empty());
        assert!(parse(b" null ").unwrap().is_empty());
    }

    #[test]
    fn only_append_can_be_done() {
        let json = br#"[{"operation": "append", "value": "a"}, {"operation": "delete", "value": "b"}]"#;
        let error = parse(json).unwrap_err();
        assert!(
            matches!(&error, InvalidKernelArguments::Operation { position: 2, operation } if operation == "delete")
        );
        for json in [&br#"[{"value": "a"}]"#[..], b"", b"{}", b"\"quiet\"", b"[\"quiet\"]", b"[null]"] {
            assert!(parse(json).is_err(), "{}", json.escape_ascii());
        }
    }
}
