//! `WWW-Authenticate` headers (RFC 9110 §11.6.1, distribution spec "token authentication").

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password.
    Basic,
    /// A token from a server.
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// The name under which the token server knows the registry.
        service: String,
        /// What the token is to allow.
        scope: String,
    },
}

impl Challenge {
    /// The best challenge of a header; `None` if none is known to us.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut realm = None;
        let mut service = String::new();
        let mut scope = String::new();
        for (key, value) in parameters(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
            scope,
        })
    }
}

/// `key=value` and `key="value"`, separated by commas; values may contain commas and escaped quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        let key: String = characters
            .by_ref()
            .skip_while(|c| *c == ',' || c.is_whitespace())
            .take_while(|c| *c != '=')
            .collect();
        if key.is_empty() {
            return parameters;
        }
        let mut value = String::new();
        if characters.next_if_eq(&'"').is_some() {
            while let Some(character) = characters.next() {
                match character {
                    '"' => break,
                    '\\' => value.extend(characters.next()),
                    character => value.push(character),
                }
            }
        } else {
            while let Some(character) = characters.next_if(|c| *c != ',') {
                value.push(character);
            }
        }
        parameters.push((key.trim().to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_challenges_are_parsed() {
        let bearer = |realm: &str, service: &str, scope: &str| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.to_owned(),
                scope: scope.to_owned(),
            })
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://a.example/token",service="r",scope="repository:x:pull,push""#,
                bearer("https://a.example/token", "r", "repository:x:pull,push"),
            ),
            (
                r#"bearer service=r , realm="https://a.example/\"t""#,
                bearer("https://a.example/\"t", "r ", ""),
            ),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer service=\"r\"", None),
            ("Negotiate", None),
            ("", None),
            (r#"Bearer realm=""#, bearer("", "", "")),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
