//! Packages made of temporary files, and what an inspection says of them.

use std::fs;

use cargo_metadata::semver::Version;
use tempfile::TempDir;

use super::*;

fn package(files: &[(&str, &[u8])]) -> (TempDir, Package) {
    let root = tempfile::tempdir().expect("a directory");
    for (path, bytes) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }
    let id = PackageId { name: "sample".into(), version: Version::new(1, 0, 0), source: "path".into() };
    let package = Package {
        id,
        directory: root.path().to_str().expect("a utf-8 path").to_owned(),
        description: None,
        licence: Some("MIT".into()),
        licence_file: None,
        readme: None,
        build_script: None,
        roots: Vec::new(),
    };
    (root, package)
}

fn facts_of(package: &Package) -> Facts {
    match inspect(package).result {
        Inspected::Facts(facts) => facts,
        Inspected::NotAvailable { reason } => panic!("{reason}"),
    }
}

#[test]
fn every_kind_of_file_is_counted() {
    let (_root, package) = package(&[
        ("src/lib.rs", b"// unsafe\nunsafe fn f() {}\n"),
        ("src/deep/more.rs", b"fn g() {}\n"),
        ("c/all.c", b"int a;\nint b;"),
        ("c/all.H", b"\n"),
        ("lib/win.lib", b"\x00\x01"),
        ("LICENSE-MIT", b"text"),
        ("LICENSES/Zlib.txt", b"text"),
        ("src/license.rs", b""),
    ]);
    let facts = facts_of(&package);
    assert_eq!(facts.rust, Rust { files: 3, code_lines: 2, unsafe_count: 1 });
    assert_eq!(facts.native, Native { files: 2, lines: 3 });
    assert_eq!(facts.prebuilt, ["lib/win.lib"]);
    assert_eq!(facts.licence_files, ["LICENSE-MIT", "LICENSES/Zlib.txt"]);
    assert_eq!((facts.files, facts.bytes), (8, 61));
    assert_eq!(facts.licence.as_deref(), Some("MIT"));
    assert!(facts.unread.is_empty());
}

#[test]
fn what_cargo_and_git_add_is_not_counted() {
    let (_root, package) = package(&[
        ("src/lib.rs", b"fn f() {}"),
        (".cargo-ok", b"{}"),
        (".git/config", b"x"),
        ("target/CACHEDIR.TAG", b"x"),
        ("target/debug/out.rs", b"unsafe {}"),
        ("nested/Cargo.toml", b""),
        ("nested/src/lib.rs", b"unsafe {}"),
    ]);
    let facts = facts_of(&package);
    assert_eq!((facts.files, facts.rust.unsafe_count), (1, 0));
}

#[test]
fn a_missing_directory_or_root_file_is_not_available() {
    let (root, mut package) = package(&[("Cargo.toml", b"")]);
    package.roots = vec!["src/lib.rs".into()];
    let expected = |reason: &str| Inspected::NotAvailable { reason: reason.into() };
    assert_eq!(inspect(&package).result, expected("its file `src/lib.rs` is not on disk"));
    drop(root);
    assert_eq!(inspect(&package).result, expected("its directory is not on disk"));
}

#[test]
fn two_inspections_are_equal_wherever_the_package_lies() {
    let files: [(&str, &[u8]); 3] = [
        ("src/lib.rs", b"fn f() {}"),
        ("README.md", b"A sentence that is long enough to be kept."),
        ("a.c", b"int x;"),
    ];
    let ((_one, first), (_two, second)) = (package(&files), package(&files));
    assert_ne!(first.directory, second.directory);
    assert_eq!(inspect(&first), inspect(&second));
    assert_eq!(inspect(&first), inspect(&first));
}

#[test]
fn bytes_that_are_not_text_do_not_stop_it() {
    let (_root, package) = package(&[("src/lib.rs", b"\xff\xfe unsafe { \"\xc3\" }"), ("README", b"\xff\xff\xff")]);
    let facts = facts_of(&package);
    assert_eq!(facts.rust.unsafe_count, 1);
}

#[test]
fn a_file_too_long_to_read_is_reported() {
    let (root, package) = package(&[("src/lib.rs", b"fn f() {}")]);
    let huge = File::create(root.path().join("huge.c")).expect("a file");
    huge.set_len(FILE_BYTES_MAX + 1).expect("a long file");
    let facts = facts_of(&package);
    assert_eq!(facts.native.files, 0);
    assert_eq!(facts.bytes, FILE_BYTES_MAX + 10);
    assert_eq!(facts.unread, [Unread { path: "huge.c".into(), reason: "longer than 32 MiB".into() }]);
}

#[test]
fn the_declared_readme_wins_and_none_outside_is_read() {
    let (_root, mut package) = package(&[
        ("README.md", b"The usual file of this package is the one here."),
        ("docs/intro.md", b"The declared file of this package is the other one."),
    ]);
    assert_eq!(facts_of(&package).readme, ["The usual file of this package is the one here."]);
    package.readme = Some("docs/intro.md".into());
    assert_eq!(facts_of(&package).readme, ["The declared file of this package is the other one."]);
    package.readme = Some("../../etc/passwd".into());
    assert_eq!(facts_of(&package).readme, ["The usual file of this package is the one here."]);
}

#[cfg(unix)]
#[test]
fn links_and_sockets_are_reported_and_never_followed() {
    let (root, package) = package(&[("src/lib.rs", b"fn f() {}")]);
    std::os::unix::fs::symlink("/", root.path().join("out")).expect("a link");
    std::os::unix::fs::symlink("lib.rs", root.path().join("src/again.rs")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket.rs")).expect("a socket");
    let facts = facts_of(&package);
    let unread: Vec<(&str, &str)> = facts.unread.iter().map(|it| (it.path.as_str(), it.reason.as_str())).collect();
    let link = "a link, not followed";
    assert_eq!(unread, [("out", link), ("socket.rs", "not a regular file"), ("src/again.rs", link)]);
    assert_eq!(facts.files, 1);
}
