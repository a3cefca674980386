//! Do the shell commands of `docs/operations.md` do what it says?

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use stepmark_testbed::{PostgresServer, RedisServer};

use crate::{goes_on, written};

/// The block of the page that is marked with this word.
fn block(word: &str) -> &'static str {
    let page = include_str!("../../../../docs/operations.md");
    let (_, behind) = page.split_once(&format!("```sh {word}\n")).expect("the page has such a block");
    behind.split_once("```").expect("the block ends").0
}

fn ended(output: &Output) {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(output.status.success(), "{said:?}");
}

/// Runs it in this folder.
fn run(word: &str, folder: &Path, variables: &[(&str, &str)]) {
    let programs = PostgresServer::programs().expect("PostgreSQL is installed");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", block(word)]).current_dir(folder).env("PATH", path).envs(variables.iter().copied());
    ended(&shell.output().expect("a shell starts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dump_of_postgresql_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = PostgresServer::shared_url();
    let psql = PostgresServer::programs().expect("PostgreSQL is installed").join("psql");
    let [database, restored] = ["", "_restored"].map(|end| {
        let name = format!("operations_{}{end}", std::process::id());
        let create = format!("--command=CREATE DATABASE {name}");
        ended(&Command::new(&psql).args([&server, &create]).output().expect("psql starts"));
        let (base, _) = server.rsplit_once('/').expect("a url names a database");
        format!("{base}/{name}")
    });
    let line = written(&database).await;
    run("postgres", folder.path(), &[("DATABASE_URL", &database), ("RESTORED_URL", &restored)]);
    goes_on(line, &restored).await;
}

/// Ends the server that a block has started.
struct Started<'a>(&'a str);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let tell = |words: &[&str]| Command::new("redis-cli").args(["-p", self.0]).args(words).output();
        // It refuses to end while it begins its log. One that never started has ended.
        while tell(&["PING"]).is_ok_and(|pong| pong.status.success()) {
            let _ = tell(&["SHUTDOWN", "NOSAVE"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_of_redis_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start(&["--appendonly", "yes"]).expect("a server of its own");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = free.local_addr().expect("a port").port().to_string();
    drop(free);
    let line = written(&server.url()).await;
    let _started = Started(&port);
    run("redis", folder.path(), &[("REDIS_URL", &server.url()), ("RESTORED_PORT", &port)]);
    goes_on(line, &format!("redis://127.0.0.1:{port}/")).await;
}

#[tokio::test]
async fn copy_of_a_directory_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = folder.path().join("objects").display().to_string();
    let line = written(&format!("file:{objects}")).await;
    run("directory", folder.path(), &[("OBJECTS", &objects)]);
    goes_on(line, &format!("file:{}", folder.path().join("backup").display())).await;
}
