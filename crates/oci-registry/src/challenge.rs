use std::collections::BTreeMap;

/// One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1): a scheme and its parameters.
///
/// Several may stand in one header, and both they and their parameters are separated by commas; only what follows a
/// word tells which it is. Quoted strings hold commas of their own: `scope="repository:a/b:pull,push"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case.
    scheme: String,
    /// Names in lower case. Of a repeated name the first counts.
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// Reads the challenges of one header, as far as they can be read.
    pub fn parse_header(header: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = Rest(header);
        loop {
            rest.skip_separators();
            let word = rest.token();
            if word.is_empty() {
                return challenges;
            }
            match challenges.last_mut() {
                Some(challenge) if rest.skip_equals() => {
                    let value = rest.value();
                    challenge.parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                }
                _ => challenges.push(Self { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() }),
            }
        }
    }

    /// The scheme in lower case: `basic`, `bearer`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// A parameter by its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// What is still to be read. Every method takes something off its front.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let length = self.0.bytes().position(|byte| !wanted(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn skip_separators(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
    }

    /// A token. The characters that only token68 has (`/`) are let through, so that one is a word like any other.
    fn token(&mut self) -> &'a str {
        self.take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte))
    }

    /// Whether `=` follows, with or without blanks around.
    fn skip_equals(&mut self) -> bool {
        let Some(rest) = self.0.trim_start_matches([' ', '\t']).strip_prefix('=') else { return false };
        self.0 = rest.trim_start_matches([' ', '\t']);
        true
    }

    fn value(&mut self) -> String {
        match self.0.strip_prefix('"') {
            Some(quoted) => self.quoted(quoted),
            None => self.take_while(|byte| !matches!(byte, b' ' | b'\t' | b',')).to_owned(),
        }
    }

    fn quoted(&mut self, quoted: &'a str) -> String {
        let mut value = String::new();
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.0 = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::Challenge;
    use proptest::prelude::*;

    /// A challenge as `scheme name=value name=value`, names in order.
    fn shown(header: &str) -> Vec<String> {
        let show = |challenge: &Challenge| {
            let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            challenge.scheme.clone() + &parameters.collect::<String>()
        };
        Challenge::parse_header(header).iter().map(show).collect()
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        for (header, challenges) in [
            (
                r#"Bearer realm="https://quay.io/v2/auth",service="quay.io""#,
                vec!["bearer realm=https://quay.io/v2/auth service=quay.io"],
            ),
            (r#"Basic realm="Registry Realm""#, vec!["basic realm=Registry Realm"]),
            (
                r#"BEARER Realm="https://auth.lab/token" , SERVICE=lab, scope="repository:a/b:pull,push", error="x""#,
                vec![
                    "bearer error=x realm=https://auth.lab/token scope=repository:a/b:pull,push service=lab",
                ],
            ),
            (
                r#"Basic realm="a, b", Bearer realm="https://c/d",service="e", Negotiate"#,
                vec!["basic realm=a, b", "bearer realm=https://c/d service=e", "negotiate"],
            ),
            (r#"Bearer realm = "say \"hi\" \\ ", service=x"#, vec![r#"bearer realm=say "hi" \  service=x"#]),
            (r#"Bearer realm="first", realm="second""#, vec!["bearer realm=first"]),
            (r#"Bearer realm="never closed, service=x"#, vec!["bearer realm=never closed, service=x"]),
            ("", vec![]),
            ("Basic", vec!["basic"]),
        ] {
            assert_eq!(shown(header), challenges, "{header}");
        }
    }

    proptest! {
        #[test]
        fn quoted_values_are_read_back(values in prop::collection::vec("[^\\p{C}]{0,20}", 0..4)) {
            let quote = |value: &String| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
            let parameters: Vec<_> = values.iter().enumerate().map(|(n, value)| format!("p{n}={}", quote(value))).collect();
            let challenges = Challenge::parse_header(&format!("Basic realm=x, Bearer {}", parameters.join(",")));
            prop_assert_eq!(challenges.len(), 2);
            for (n, value) in values.iter().enumerate() {
                prop_assert_eq!(challenges[1].parameter(&format!("p{n}")), Some(value.as_str()));
            }
        }

        #[test]
        fn no_text_makes_it_panic_or_hang(header: String) {
            let _ = Challenge::parse_header(&header);
        }
    }
}
