//! Who runs a server? Nobody with privileges: PostgreSQL refuses the superuser, and the others need none.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Users that a machine may have for this, the better one first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// A user without privileges, by its numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The user that servers run as; absent where this process has no privileges itself.
pub(crate) fn server_user() -> io::Result<Option<User>> {
    static FOUND: OnceLock<Option<User>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(*found);
    }
    let own = id(&["-u"])?;
    let found = if own == Some(0) { Some(candidate()?) } else { None };
    Ok(*FOUND.get_or_init(|| found))
}

fn candidate() -> io::Result<User> {
    for name in CANDIDATES {
        if let (Some(uid), Some(gid)) = (id(&["-u", name])?, id(&["-g", name])?) {
            return Ok(User { uid, gid });
        }
    }
    Err(io::Error::other(format!("none of the users {CANDIDATES:?} exists; servers do not run as root")))
}

fn id(arguments: &[&str]) -> io::Result<Option<u32>> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

/// A command that runs as that user, inside its folder, and hears and says nothing.
pub(crate) fn command(program: &Path, folder: &Path) -> io::Result<Command> {
    let mut command = match server_user()? {
        None => Command::new(program),
        Some(User { uid, gid }) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
            command.arg(program);
            command
        }
    };
    command.current_dir(folder).env("HOME", folder).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// Runs a command to its end; a failure says what it printed.
pub(crate) fn run(mut command: Command) -> io::Result<()> {
    run_answered(&mut command).map(drop)
}

/// The same, with what it printed.
pub(crate) fn run_answered(command: &mut Command) -> io::Result<Vec<u8>> {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    Err(io::Error::other(format!("{command:?} failed with {}: {said}", output.status)))
}
