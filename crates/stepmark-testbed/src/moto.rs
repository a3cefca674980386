//! How does a test get a server that speaks S3?
//!
//! moto, a Python program, in a virtual environment below `target`. It keeps objects in memory, and by itself checks before
//! it writes without a lock; here it serves one request at a time, so that of two creates one wins, as in S3. It runs as who
//! runs the test, because nobody else may be able to read `target`, and listens at a port of this machine alone.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::guard::Guard;
use crate::home::{Home, free_port};
use crate::user;

/// Names a server that tests may share, each below a prefix of its own in [`MotoServer::BUCKET`].
pub const S3_ENDPOINT: &str = "STEPMARK_TEST_S3_ENDPOINT";

const PYTHON: &str = "python3";
/// The S3 part of moto, and what serves it.
const PACKAGES: [&str; 3] = ["moto[s3]==5.2.5", "flask", "flask-cors"];
/// moto behind a lock.
const PROGRAM: &str = "
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
moto, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def one_at_a_time(environ, start_response):
    with lock:
        return list(moto(environ, start_response))
run_simple('127.0.0.1', int(sys.argv[1]), one_at_a_time, threaded=True)
";
/// How often a starting server is asked whether it answers, and how long between two looks.
const LOOKS_MAX: u32 = 3000;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// An S3 server. Ends with its owner, or with this process.
#[derive(Debug)]
pub struct MotoServer {
    _guard: Guard,
    port: u16,
}

impl MotoServer {
    /// The bucket that is there when a server has started.
    pub const BUCKET: &'static str = "stepmark";

    /// A fresh server with its bucket.
    pub fn start() -> io::Result<Self> {
        Self::check_installed()?;
        let (home, port) = (Home::of_own("moto")?, free_port()?);
        let guard = Guard::start_own(home.path(), "kill -9 $(cat pid)")?;
        // The shell becomes the server, so the number that it writes is the server's.
        let script = "echo $$ >pid; exec \"$0\" -c \"$1\" \"$2\" >log 2>&1";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(python()).arg(PROGRAM).arg(port.to_string()).current_dir(home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        for _ in 0..LOOKS_MAX {
            if make_bucket(port).is_ok() {
                return Ok(Self { _guard: guard, port });
            }
            #[expect(clippy::disallowed_methods, reason = "a port can only be looked at again and again")]
            std::thread::sleep(LOOK_PAUSE);
        }
        Err(io::Error::other(format!("moto does not answer at port {port}\n{}", home.tail("log"))))
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The server that `STEPMARK_TEST_S3_ENDPOINT` names, else one that this process starts once.
    pub fn shared_endpoint() -> String {
        static OWN: OnceLock<MotoServer> = OnceLock::new();
        if let Ok(endpoint) = std::env::var(S3_ENDPOINT) {
            return endpoint;
        }
        OWN.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("no S3 to test with: {error}"))).endpoint()
    }

    /// Whether it is installed; if not, the error says the command.
    pub fn check_installed() -> io::Result<()> {
        if python().is_file() && environment().join("whole").is_file() {
            return Ok(());
        }
        let place = environment();
        let reason = format!(
            "moto, an S3 server, is not installed: cargo xtask test installs it, or {PYTHON} -m venv {0} && \
             {0}/bin/python -m pip install '{1}' && touch {0}/whole",
            place.display(),
            PACKAGES.join("' '")
        );
        Err(io::Error::new(io::ErrorKind::NotFound, reason))
    }

    /// Whether there is a Python that makes environments; if not, the error says the command.
    pub fn check_python() -> io::Result<()> {
        let mut command = Command::new(PYTHON);
        command.args(["-c", "import ensurepip, venv"]);
        let missing =
            |_| io::Error::other(format!("{PYTHON} with venv is not installed: apt-get install python3-venv"));
        user::run(command).map_err(missing)
    }

    /// Installs it below `target`, from the Python package index.
    pub fn install() -> io::Result<()> {
        let mut venv = Command::new(PYTHON);
        venv.args(["-m", "venv", "--clear"]).arg(environment());
        user::run(venv)?;
        let mut pip = Command::new(python());
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        user::run(pip)?;
        std::fs::write(environment().join("whole"), "")
    }
}

fn environment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moto")
}

fn python() -> PathBuf {
    environment().join("bin/python")
}

fn make_bucket(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let bucket = MotoServer::BUCKET;
    write!(stream, "PUT /{bucket} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split_whitespace().nth(1);
    if status == Some("200") { Ok(()) } else { Err(io::Error::other(format!("no bucket was made: {answer}"))) }
}
