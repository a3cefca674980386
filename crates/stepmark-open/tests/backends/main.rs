//! Does one URL open each store, with its options, and is everything else refused without telling secrets?

mod operations;

use std::error::Error as _;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use stepmark_conformance::make::{Line, full};
use stepmark_core::error::ErrorKind;
use stepmark_core::store::CheckpointStore;
use stepmark_open::{Config, Error, open};
use stepmark_testbed::{MotoServer, PostgresServer, RedisServer};
use tokio::task::JoinSet;

/// A thread with something in it.
async fn written(url: &str) -> Line {
    let store = open(url).await.unwrap_or_else(|error| panic!("{error}"));
    let mut line = Line::unborn(&store, "acme", "t");
    let long = "long enough to be compressed ".repeat(400);
    line.apply(line.birth().named("main").packed("list", full(&["a"])).stored("long", full(&[&long])).build()).await;
    line.step().await;
    line
}

/// One handle writes, another one reads it and goes on.
async fn survives(url: &str) -> Line {
    goes_on(written(url).await, url).await
}

/// A thread is found at a URL, as it was.
async fn goes_on(mut line: Line, url: &str) -> Line {
    let seen = line.store.load(line.whole()).await.expect("it loads");
    line.store = open(url).await.expect("it opens again");
    let again = line.store.load(line.whole()).await.expect("it loads again");
    assert_eq!((&again.chains, &again.branch), (&seen.chains, &seen.branch));
    assert!(!seen.chains.is_empty());
    line.step().await;
    line
}

/// The options of every store, with keys in a file of this folder.
fn sealed(folder: &Path) -> String {
    let file = folder.join("keys");
    std::fs::write(&file, "5e".repeat(32)).expect("the folder is there");
    format!("compression=zstd&keys=file:{}", file.display())
}

fn name() -> String {
    format!("open_{}", std::process::id())
}

fn bucket(prefix: &str) -> String {
    let of_server = "region=us-east-1&allow_http=true&access_key_id=test&secret_access_key=test";
    let endpoint = MotoServer::shared_endpoint();
    format!("s3://{}/{prefix}?endpoint={endpoint}&{of_server}", MotoServer::BUCKET)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_opens_every_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    let postgres = PostgresServer::shared_url();
    let urls = [
        format!("sqlite:{path}/a%20b.db?readers=2&busy_timeout_ms=1000&synchronous=normal"),
        format!("file://{path}/objects?"),
        format!("{postgres}?schema={}&connections=4&workers=2&prepared=true&application_name=a%20b", name()),
        format!("{}?prefix={}&patience_ms=20000&life_ms=600000", RedisServer::shared_url(), name()),
        format!("{}&virtual_hosted_style=false", bucket(&name())),
    ];
    for url in &urls {
        survives(url).await;
        assert!(std::fs::exists(folder.path().join("a b.db")).expect("the folder is there"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_is_compressed_and_sealed_where_its_url_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, sealed) = (folder.path().display(), sealed(folder.path()));
    let urls = [
        format!("sqlite:{path}/a.db?{sealed}&key_directory={path}/thread-keys"),
        format!("file:{path}/objects?{sealed}"),
        format!("{}?schema=sealed_{}&{sealed}", PostgresServer::shared_url(), name()),
        format!("{}?prefix=sealed_{}&{sealed}", RedisServer::shared_url(), name()),
        format!("{}&{sealed}", bucket(&format!("sealed_{}", name()))),
    ];
    for url in &urls {
        let line = survives(url).await;
        let with_keys = format!("{sealed}&key_directory={path}/thread-keys");
        let without = url.replace(&with_keys, "compression=none").replace(&sealed, "compression=none");
        let store = open(&without).await.expect("it opens");
        let refusal = store.load(line.whole()).await.expect_err("it is sealed");
        assert_eq!(refusal.kind(), ErrorKind::Unsupported, "{url}: {refusal}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("thread-keys")).expect("keys").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_for_certificates_that_the_url_names() {
    let server = PostgresServer::start_encrypted().expect("a server of its own");
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root.pem");
    std::fs::write(&root, server.certificate().expect("a certificate")).expect("the folder is there");
    let url = |options: &str| format!("{}?reconnect_ms=0&{options}", server.url());
    survives(&url(&format!("sslrootcert={}", root.display()))).await;
    // The system knows nothing of this server.
    let unknown = open(&url("sslmode=require")).await.expect_err("nobody knows its certificate");
    assert!(matches!(unknown, Error::Store(_) | Error::InvalidOption { .. }), "{unknown:?}");
    let absent = open(&url("sslrootcert=absent.pem")).await.expect_err("there is no such file");
    assert!(absent.to_string().contains("\"sslrootcert\" is invalid: it must be a file of certificates"), "{absent}");
}

#[tokio::test]
async fn application_passes_its_own_pool_or_store() {
    use stepmark_store_postgres::deadpool_postgres::{Manager, Pool, tokio_postgres};

    let config = PostgresServer::shared_url().parse().expect("an address");
    let pool = Pool::builder(Manager::new(config, tokio_postgres::NoTls)).max_size(5).build().expect("a pool");
    let url = format!("postgres:?schema=pooled_{}&group_max=7", name());
    let store = Config::parse(&url).expect("options").open_pool(pool.clone()).await.expect("it opens");
    assert_eq!(store.info().await.expect("it answers").backend, "postgres");
    assert!(pool.status().size > 0);
    let refusal = Config::parse("memory:").expect("a url").open_pool(pool).await.expect_err("no database");
    assert!(matches!(refusal, Error::InvalidUrl { .. }), "{refusal:?}");

    let own: Arc<dyn CheckpointStore> = Arc::new(stepmark_core::memory::MemoryStore::new());
    let dressed = Config::parse("memory:?compression=zstd:9").expect("options").dress(own).expect("no keys");
    assert!(format!("{dressed:?}").contains("CodecStore"), "{dressed:?}");
}

#[tokio::test]
async fn configuration_files_say_the_same_as_urls() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let text = format!("url = \"sqlite:{}\"\nreaders = 2\nread_only = false\ncompression = \"zstd\"", path.display());
    let config: Config = toml::from_str(&text).expect("it is read");
    config.open().await.expect("it opens");
    assert!(path.exists());

    let url = format!("sqlite:{}?readers=2", path.display());
    let refused = |text: String| toml::from_str::<Config>(&text).expect_err("refused").to_string();
    let twice = refused(format!("url = \"{url}\"\nreaders = 3"));
    assert!(twice.contains("\"readers\" is invalid: it is given in the url and beside it"), "{twice}");
    let unknown = refused(format!("url = \"{url}\"\npool = 3"));
    assert!(unknown.contains("sqlite has no option \"pool\"; it has busy_timeout_ms, readers,"), "{unknown}");

    let changed = Config::parse(&url).expect("a url").with("readers", 8).expect("an option");
    let shown = format!("{changed:?}");
    assert_eq!(shown, format!("Config {{ address: sqlite:{}, options: {{\"readers\": \"8\"}}, .. }}", path.display()));
}

#[test]
fn unknown_options_are_named_beside_those_that_there_are() {
    let cases = [
        ("sqlite:a.db", "synchronous"),
        ("postgres://h/d", "target_session_attrs"),
        ("redis://h", "life_ms"),
        ("s3://b/p", "endpoint"),
        ("file:d", "key_directory"),
        ("memory:", "compression"),
    ];
    for (url, has) in cases {
        let refusal = Config::parse(&format!("{url}?pool_size=3")).expect_err("no such option");
        let Error::UnknownOption { option, valid, .. } = &refusal else { panic!("{refusal:?}") };
        assert!(option == "pool_size" && valid.contains(&has) && valid.contains(&"keys"), "{refusal}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("agents.db", "the url of the store cannot be read: it must begin with a scheme"),
        ("mysql://h/d", "no store has the scheme \"mysql\"; known are memory:, sqlite:, postgres://"),
        ("memory:name", "a store in memory has no name"),
        ("sqlite:a?readers=many", "the option \"readers\" is invalid: it must be a whole number"),
        ("sqlite:a?readers=-1", "the option \"readers\" is invalid: it must be a whole number"),
        ("sqlite:a?page_max=9999999999", "the option \"page_max\" is invalid"),
        ("sqlite:a?read_only=yes", "the option \"read_only\" is invalid: it must be true or false"),
        ("sqlite:a?synchronous=off", "the option \"synchronous\" is invalid: it must be one of full, normal"),
        ("sqlite:a?readers=1&readers=2", "the option \"readers\" is invalid: it is given twice"),
        ("memory:?compression=gzip", "the option \"compression\" is invalid: it must be zstd"),
        ("memory:?compression=zstd:99", "the option \"compression\" is invalid: it must be zstd"),
        ("memory:?keys=secret", "the option \"keys\" is invalid: it must be env:NAME or file:PATH"),
        ("memory:?key_directory=d", "the option \"key_directory\" is invalid"),
        ("postgres://h/d?sslmode=allow", "the option \"sslmode\" is invalid"),
    ];
    for (url, expected) in cases {
        let message = Config::parse(url).expect_err(url).to_string();
        assert!(message.contains(expected), "{url}: {message}");
    }
    let unset = Config::from_env("STEPMARK_NO_SUCH_VARIABLE").expect_err("it is not set");
    assert!(unset.to_string().starts_with("the environment variable STEPMARK_NO_SUCH_VARIABLE"), "{unset}");
}

/// All that somebody may print of an error.
fn shown(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n");
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, "{error}\n{error:?}\n").expect("a string takes all");
        source = error.source();
    }
    text
}

/// What is shown of a store that is not there.
async fn refused(url: &str) -> String {
    let (config, error) = match Config::parse(url) {
        Ok(config) => (format!("{config:?}"), config.open().await.expect_err("nobody is there")),
        Err(error) => (String::new(), error),
    };
    config + &shown(&error)
}

#[tokio::test]
async fn no_password_is_shown() {
    let urls = [
        "postgres://agents:hunter2@127.0.0.1:1/d?reconnect_ms=1&connect_timeout_ms=200",
        "postgres://agents:hunter2@127.0.0.1:x/d",
        "postgres://agents:hunter2",
        "postgres://agents:0@hunter2@127.0.0.1/d",
        "postgres://agents:0/hunter2@127.0.0.1/d",
        "postgres://agents:0?hunter2@127.0.0.1/d",
        "postgres://agents:0?hunter2=3@127.0.0.1/d",
        "postgres://agents:0#hunter2@127.0.0.1/d",
        "postgres://127.0.0.1:1/d?password=hunter2&pool=3",
        "postgres://127.0.0.1:1/d?password=hunter2&reconnect_ms=1&connect_timeout_ms=200",
        "postgres://agents:%ffhunter2@127.0.0.1:1/d?reconnect_ms=1",
        "redis://:hunter2@127.0.0.1:1/0?patience_ms=200",
        "redis://:hunter2@127.0.0.1:x/0",
        "redis://:0/hunter2@127.0.0.1/0",
        "redis+unix:///nowhere?pass=hunter2&patience_ms=200",
        "s3://b/p?secret_access_key=hunter2&allow_http=perhaps",
        "memory:?keys=hunter2",
        "memory:?keys=file:/nowhere&compression=hunter2",
        "mysql://agents:hunter2@127.0.0.1/d",
        "hunter2",
        "agents:hunter2@127.0.0.1",
    ];
    // All at once: some are tried again and again.
    let mut opened: JoinSet<_> = urls.into_iter().map(refused).collect();
    while let Some(shown) = opened.join_next().await {
        let shown = shown.expect("it is refused");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let postgres = Config::parse("postgres://agents:hunter2@h/d?password=hunter2&port=1").expect("a url");
    let shown = "Config { address: postgres://agents:***@h/d, options: {\"password\": \"***\", \"port\": \"1\"}, .. }";
    assert_eq!(format!("{postgres:?}"), shown);
}
