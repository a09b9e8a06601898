use std::collections::BTreeSet;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of several bundles, each once, in their order. `None` if there are none.
///
/// Only certificates are passed on: a private key that lies beside them by mistake stays where it is.
pub(super) fn bundle<'a>(bundles: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut known = BTreeSet::new();
    let mut bundle = String::new();
    for text in bundles {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(BEGIN) {
            let Some((body, after)) = after.split_once(END) else { break };
            rest = after;
            let lines: Vec<_> = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let is_base64 =
                |line: &&str| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
            if !lines.is_empty() && lines.iter().all(is_base64) && known.insert(lines.concat()) {
                bundle.push_str(BEGIN);
                bundle.push('\n');
                for line in lines {
                    bundle.push_str(line);
                    bundle.push('\n');
                }
                bundle.push_str(END);
                bundle.push('\n');
            }
        }
    }
    (!bundle.is_empty()).then_some(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    #[test]
    fn each_certificate_is_there_once_and_nothing_else() {
        let first = format!(
            "# a comment\n{}-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            pem("QUJD")
        );
        let second = format!("{}{}", pem("QUJD\r").replace("-----\n", "-----\r\n"), pem("REVG\nR0hJ"));
        let joined = bundle([first.as_str(), second.as_str()].into_iter()).unwrap();
        assert_eq!(joined, format!("{}{}", pem("QUJD"), pem("REVG\nR0hJ")));
    }

    #[test]
    fn what_is_no_certificate_is_left_out() {
        for text in ["", "text", BEGIN, END, &pem(""), &pem("not base64!"), &format!("{END}{BEGIN}")] {
            assert_eq!(bundle([text].into_iter()), None, "{text}");
        }
    }
}
