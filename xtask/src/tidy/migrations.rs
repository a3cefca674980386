//! Rule: a released migration never changes.
//!
//! A store lists its released files in `sql/migrations/CHECKSUMS`, one line each as `b3sum` prints
//! it: the BLAKE3 hash in hex, two spaces, the file name. A migration that is not listed is not
//! released yet and may change.

use super::Finding;
use super::tree::SourceFile;

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in files {
        let Some(directory) = list.path.strip_suffix("CHECKSUMS").filter(|path| path.ends_with("/sql/migrations/"))
        else {
            continue;
        };
        for (number, line) in list.lines() {
            let remark = check_line(line, directory, files);
            findings.extend(remark.map(|message| list.finding(number, message)));
        }
    }
    findings
}

fn check_line(line: &str, directory: &str, files: &[SourceFile]) -> Option<String> {
    let Some((expected, name)) = line.split_once("  ") else {
        return Some("expected a hash, two spaces and a file name".to_owned());
    };
    let path = format!("{directory}{name}");
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Some(format!("released migration `{name}` is gone"));
    };
    let found = blake3::hash(file.text.as_bytes()).to_hex();
    (found.as_str() != expected)
        .then(|| format!("released migration `{name}` changed, its hash is now {found}; add another"))
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, check};

    const DIRECTORY: &str = "crates/stepmark-store-sqlite/sql/migrations";

    fn messages(checksums: &str, migrations: &[(&str, &str)]) -> Vec<String> {
        let file = |name: &str, text: &str| SourceFile::new(&format!("{DIRECTORY}/{name}"), text);
        let mut files = vec![file("CHECKSUMS", checksums)];
        files.extend(migrations.iter().map(|(name, text)| file(name, text)));
        check(&files).into_iter().map(|finding| finding.message).collect()
    }

    fn released(text: &str) -> String {
        format!("{}  0001_init.sql\n", blake3::hash(text.as_bytes()).to_hex())
    }

    #[test]
    fn changed_migration_is_refused() {
        let messages = messages(&released("create table a;"), &[("0001_init.sql", "create table b;")]);
        assert!(messages.len() == 1 && messages[0].contains("changed"), "{messages:?}");
    }

    #[test]
    fn missing_migration_is_refused() {
        let messages = messages(&released("create table a;"), &[]);
        assert!(messages.len() == 1 && messages[0].contains("is gone"), "{messages:?}");
    }

    #[test]
    fn malformed_line_is_refused() {
        assert_eq!(messages("0001_init.sql\n", &[("0001_init.sql", "")]).len(), 1);
    }

    #[test]
    fn unchanged_and_unreleased_migrations_pass() {
        let migrations = [("0001_init.sql", "create table a;"), ("0002_more.sql", "create table b;")];
        assert_eq!(messages(&released("create table a;"), &migrations), [""; 0]);
    }
}
