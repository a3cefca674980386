//! What does a URL say, and what of it may be shown?

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::given::Given;

/// Options whose values nobody is shown.
const SECRETS: [&str; 5] = ["password", "pass", "secret_access_key", "session_token", "access_key_id"];

/// A URL without its options.
#[derive(Clone)]
pub(crate) struct Address {
    /// In lower case.
    pub(crate) scheme: String,
    /// What follows the colon, as it was written; may hold a password.
    rest: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.rest.split_once('@') {
            Some((before, after)) => {
                let user = before.trim_start_matches('/').split(':').next().unwrap_or_default();
                format!("//{user}:***@{after}")
            }
            None => self.rest.clone(),
        };
        write!(f, "{}:{shown}", self.scheme)
    }
}

impl Address {
    /// Takes a URL apart.
    pub(crate) fn parse(url: &str) -> Result<(Self, Given)> {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !is_scheme(scheme) {
            return Err(Error::url("it must begin with a scheme, as in sqlite:agents.db or postgres://host/database"));
        }
        let scheme = scheme.to_ascii_lowercase();
        let names_server = rest.starts_with("//") && !matches!(scheme.as_str(), "sqlite" | "file" | "s3");
        if names_server {
            refuse_stray_password(&rest[2..])?;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok((Self { scheme, rest: rest.to_owned() }, parse_query(query)?))
    }

    /// The path that follows the scheme: `sqlite:a.db` and `sqlite://a.db` lie in the working directory, `sqlite:///a.db` does
    /// not.
    #[allow(dead_code, reason = "only stores of files have paths")]
    pub(crate) fn path(&self) -> Result<String> {
        let path = decoded(self.rest.strip_prefix("//").unwrap_or(&self.rest))?;
        if path.is_empty() { Err(Error::url("it names no file")) } else { Ok(path) }
    }

    /// The URL with these options alone.
    #[allow(dead_code, reason = "only servers have URLs of their own")]
    pub(crate) fn with_query(&self, options: &Given) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
        format!("{}:{}{query}", self.scheme, self.rest)
    }
}

/// A password with these signs would be cut in two, and its end taken for something that may be shown.
fn refuse_stray_password(rest: &str) -> Result<()> {
    let ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(ends);
    if behind.contains(['@', '#']) || authority.matches('@').count() > 1 {
        return Err(Error::url("a sign of @ / ? # in a user name, password or option must be percent-encoded"));
    }
    let hosts = authority.split_once('@').map_or(authority, |(_, hosts)| hosts);
    let has_port = |host: &str| host.rsplit_once(':').is_none_or(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
    if hosts.split(',').all(|host| host.ends_with(']') || has_port(host)) {
        return Ok(());
    }
    Err(Error::url("what follows the colon of its host is no port; user and password stand before an @"))
}

fn parse_query(query: &str) -> Result<Given> {
    let mut given = Given::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') || name.is_empty() {
            return Err(Error::url("a name in its query is no option's"));
        }
        let value = decoded(value).map_err(|_| Error::option(name, "it is not UTF-8 when it is percent-decoded"))?;
        if given.insert(name.to_owned(), value).is_some() {
            return Err(Error::option(name, "it is given twice"));
        }
    }
    Ok(given)
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| Error::url("it is not UTF-8 when it is percent-decoded"))?.into_owned())
}

/// Options as they may be shown.
pub(crate) struct Shown<'a>(pub(crate) &'a Given);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&'_ String, &'_ String)| {
            let is_secret = SECRETS.contains(&name.as_str());
            (name.clone(), if is_secret { "***".to_owned() } else { value.clone() })
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, scheme: &str, path: &str, options: &[(&str, &str)]) {
        let (address, given) = Address::parse(url).expect("it is read");
        assert_eq!((&*address.scheme, &*address.path().expect("a path")), (scheme, path), "{url}");
        let options: Given = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(given, options, "{url}");
    }

    #[test]
    fn urls_are_taken_apart() {
        check("sqlite:agents.db", "sqlite", "agents.db", &[]);
        check("SQLite://a%20b.db?readers=8", "sqlite", "a b.db", &[("readers", "8")]);
        check("sqlite:///var/a@b#c.db?read_only", "sqlite", "/var/a@b#c.db", &[("read_only", "true")]);
        check("file:a?b=%26%3d&&c=", "file", "a", &[("b", "&="), ("c", "")]);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let urls = ["", "agents.db", "/tmp/a:b", ":x", "sqlite:a?=1", "sqlite:a?b=%ff", "sqlite:a?b=1&b=2"];
        for url in urls {
            assert!(Address::parse(url).is_err(), "{url}");
        }
        assert!(Address::parse("sqlite:").expect("a scheme").0.path().is_err());
    }
}
