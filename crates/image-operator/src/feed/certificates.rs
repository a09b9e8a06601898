use std::collections::BTreeSet;

use coreos_names::WithCauses;
use outbound_http::NamedCas;

use crate::plan::Problem;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of several bundles, each once, in their order. `None` if there are none.
///
/// One that cannot be used is left out and said, with the place that it is in; the image service would use none of them.
/// Only certificates are passed on: a private key that lies beside them by mistake stays where it is.
pub(super) fn bundle<'a>(
    bundles: impl Iterator<Item = (String, &'a String)>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let mut known = BTreeSet::new();
    let mut bundle = String::new();
    for (place, text) in bundles {
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once(BEGIN) {
            let Some((body, after)) = after.split_once(END) else { break };
            rest = after;
            let lines: Vec<_> = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            if !known.insert(lines.concat()) {
                continue;
            }
            let certificate = format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"));
            match NamedCas::from_pem(certificate.as_bytes()) {
                Ok(_) => bundle.push_str(&certificate),
                Err(error) => {
                    let why = WithCauses(&error);
                    problems.push(Problem::new(
                        "CertificateUnusable",
                        format!("a certificate in {place} is left out: {why}"),
                    ));
                }
            }
        }
    }
    (!bundle.is_empty()).then_some(bundle)
}

#[cfg(test)]
mod tests {
    use test_support::registry::Certificate;

    use super::*;

    fn pem(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    fn bundle_of(texts: &[String]) -> (Option<String>, Vec<Problem>) {
        test_support::install_crypto_provider();
        let mut problems = Vec::new();
        let bundle = bundle(texts.iter().map(|text| ("a place".to_owned(), text)), &mut problems);
        (bundle, problems)
    }

    #[test]
    fn each_certificate_is_there_once_and_nothing_else() {
        let [one, two] = [(); 2].map(|()| Certificate::generate().ca_pem.replace("\r\n", "\n"));
        let first =
            format!("# a comment\n{one}-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
        let second = format!("{}{two}", one.replace('\n', "\r\n"));
        let (joined, problems) = bundle_of(&[first, second]);
        assert_eq!((joined.unwrap(), problems), (format!("{one}{two}"), Vec::new()));
    }

    #[test]
    fn what_is_no_certificate_is_left_out() {
        let good = Certificate::generate().ca_pem.replace("\r\n", "\n");
        for text in [pem(""), pem("not base64!"), pem("QUJD")] {
            let (joined, problems) = bundle_of(&[text.clone() + &good]);
            assert_eq!(joined.as_ref(), Some(&good), "{text}");
            assert_eq!(problems.len(), 1, "{text}");
            assert!(
                problems[0].message.starts_with("a certificate in a place is left out: "),
                "{problems:?}"
            );
        }
        for text in ["", "text", BEGIN, END, &format!("{END}{BEGIN}")] {
            assert_eq!(bundle_of(&[text.to_owned()]), (None, Vec::new()), "{text}");
        }
    }
}
