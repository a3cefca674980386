//! Where does the other half run?
//!
//! In a virtual environment below `target`, made once with the versions of `requirements.txt`; where the index does not
//! have those, with the newest it has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
const PLACE: &str = "target/peers";
const PYTHON: &str = "python3";
const PACKAGES: [&str; 5] =
    ["langgraph", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "aiosqlite", "psycopg[binary]"];

/// A Python with LangGraph.
pub(super) struct Environment {
    python: PathBuf,
}

impl Environment {
    /// Makes it where it is not there yet.
    pub(super) fn prepare() -> Result<Self> {
        let place = Path::new(PLACE);
        let python = place.join("venv").join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let environment = Self { python };
        if !environment.python.exists() {
            require_python()?;
            eprintln!("installing LangGraph below {PLACE}");
            std::fs::create_dir_all(place)?;
            run(PYTHON, &["-m", "venv", "--clear", &place.join("venv").to_string_lossy()])
                .map_err(|error| format!("`--peers` needs Python's `venv`: {error}"))?;
        }
        let pinned = format!("{PROGRAMS}/requirements.txt");
        if let Err(error) = environment.install(&["--requirement", &pinned]) {
            eprintln!("not with the versions of requirements.txt ({error}); taking the newest");
            environment.install(&PACKAGES)?;
        }
        Ok(environment)
    }

    fn install(&self, packages: &[&str]) -> Result {
        let command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(&self.python, &[&command, packages].concat())?;
        Ok(())
    }

    /// What is installed, as a line.
    pub(super) fn versions(&self) -> Result<String> {
        let program = format!(
            "import platform\nfrom importlib.metadata import version\n\
             print(', '.join(['Python ' + platform.python_version()] + [n + ' ' + version(n.split('[')[0]) for n in {PACKAGES:?}]))"
        );
        Ok(run(&self.python, &["-c", &program])?.trim_end().to_owned())
    }

    /// The figures of a program, which works in a directory, and on a server if there is one.
    pub(super) fn figures(
        &self,
        id: &str,
        (directory, server): (&Path, Option<&str>),
        arguments: &[u64],
    ) -> Result<Vec<f64>> {
        let mut words = vec![format!("{PROGRAMS}/{}.py", id.to_lowercase()), directory.to_string_lossy().into_owned()];
        words.extend(arguments.iter().map(u64::to_string));
        words.extend(server.map(str::to_owned));
        let output = run(&self.python, &words)?;
        serde_json::from_str(&output)
            .map_err(|error| format!("{id}: `{}` is no list of figures: {error}", output.trim_end()).into())
    }
}

fn require_python() -> Result {
    match run(PYTHON, &["--version"]) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`--peers` runs LangGraph and needs Python 3 as `{PYTHON}`: {error}").into()),
    }
}

/// What a program printed; its errors go to the terminal.
fn run(program: impl AsRef<OsStr>, arguments: &[impl AsRef<OsStr>]) -> Result<String> {
    let name = program.as_ref().to_string_lossy().into_owned();
    let mut command = Command::new(&program);
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("`{name}` does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
