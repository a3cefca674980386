//! Where audits run, and what they print.

use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const SIGKILL: i32 = 9;
/// How the example ends when packages wait for answers.
const WAITS: i32 = 3;

/// A directory in which audits of one workspace run.
pub(crate) struct Place {
    directory: TempDir,
    manifest: PathBuf,
}

/// What a run that came to its end printed.
pub(crate) struct Ran {
    pub(crate) text: String,
    pub(crate) reused: usize,
    pub(crate) inspected: usize,
    pub(crate) total: usize,
}

impl Place {
    /// Where this workspace is audited.
    pub(crate) fn new() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        Self { directory: tempfile::tempdir().expect("a directory"), manifest }
    }

    /// Where a package with these dependencies is audited. Each of them is declared and has no files.
    pub(crate) fn of_package(dependencies: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut app = "[package]\nname = 'app'\nedition = '2024'\n[workspace]\n[dependencies]\n".to_owned();
        for name in dependencies {
            let manifest = format!("[package]\nname = '{name}'\nedition = '2024'\n[lib]\npath = 'gone.rs'\n");
            write(&directory.path().join(name).join("Cargo.toml"), &manifest);
            let _ = writeln!(app, "{name} = {{ path = '../{name}' }}");
        }
        let manifest = directory.path().join("app/Cargo.toml");
        write(&directory.path().join("app/src/lib.rs"), "");
        write(&manifest, &app);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["generate-lockfile", "--quiet", "--offline", "--manifest-path"]).arg(&manifest);
        assert!(cargo.status().expect("cargo starts").success(), "the package has no lock file");
        Self { directory, manifest }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The example, to be started here with `options` split at spaces.
    pub(crate) fn command(&self, options: &str) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.directory.path()).arg("--manifest-path").arg(&self.manifest);
        command.args(options.split_whitespace());
        command
    }

    pub(crate) fn run(&self, options: &str) -> Output {
        self.command(options).output().expect("the example starts")
    }

    /// Starts the example and does not wait for it.
    pub(crate) fn start(&self, options: &str) -> Child {
        let mut command = self.command(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the example starts")
    }

    /// Writes a policy that asks about every package whose files are gone, and says so with `text` after it.
    pub(crate) fn policy(&self, name: &str, text: &str) {
        write(&self.path(name), &format!("ask = ['not_available']\n[licences]\nallowed = ['MIT']\n{text}"));
    }

    /// What a run prints that ends because packages wait for answers.
    pub(crate) fn wait(&self, options: &str) -> String {
        let output = self.run(options);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(WAITS), "{options}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn finish(&self, options: &str) -> Ran {
        let text = self.answer(options);
        let line = text.lines().find(|line| line.starts_with("reused ")).expect("a line of counts");
        let words = line.split([' ', ',']).filter_map(|word| word.parse().ok());
        let counts: Vec<usize> = words.collect();
        let &[reused, inspected, total] = counts.as_slice() else { panic!("three counts in {line:?}") };
        assert_eq!(line, format!("reused {reused}, inspected {inspected} of {total}"));
        Ran { text, reused, inspected, total }
    }

    pub(crate) fn answer(&self, options: &str) -> String {
        let output = self.run(options);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options}: {} {errors}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn crash(&self, options: &str) {
        let status = self.run(options).status;
        assert_eq!(status.signal(), Some(SIGKILL), "{options}: {status}");
    }

    /// The message of a run that is refused.
    pub(crate) fn refusal(&self, options: &str) -> String {
        let output = self.run(options);
        assert_eq!(output.status.code(), Some(1), "{options}");
        let message = String::from_utf8(output.stderr).expect("text");
        assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
        message
    }

    pub(crate) fn has_report(&self, directory: &str) -> bool {
        self.path(directory).join("report.json").exists()
    }

    /// `report.json`, as it is.
    pub(crate) fn report(&self, directory: &str) -> String {
        std::fs::read_to_string(self.path(directory).join("report.json")).expect("a report")
    }
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// Cargo puts examples beside the directory of its tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let program = profile.join("examples/dependency_audit");
    assert!(program.exists(), "build it first: cargo build -p stepmark --examples");
    program
}
