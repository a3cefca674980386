//! How does a schema open: by many at once, with other tables in it, of another version, or not at all?

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use common::Home;
use stepmark_conformance::make::Line;
use stepmark_core::error::{Error, ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;
use stepmark_store_postgres::PostgresStore;
use stepmark_store_postgres::deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

/// Set in a child process of these tests: which schema it opens.
const CHILD_SCHEMA: &str = "STEPMARK_TEST_POSTGRES_SCHEMA";

async fn refusal(home: &Home) -> Error {
    home.options().open(home.url()).await.expect_err("it is refused")
}

fn child(test: &str, home: &Home) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", test]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env(CHILD_SCHEMA, home.schema()).env(stepmark_testbed::POSTGRES_URL, home.url());
    command.spawn().expect("a child")
}

#[tokio::test]
async fn ten_processes_open_a_new_schema_at_once() {
    if let Ok(schema) = std::env::var(CHILD_SCHEMA) {
        let options = PostgresStore::options().schema(schema).connections(2);
        let opened = options.open(&stepmark_testbed::PostgresServer::shared_url()).await;
        assert_eq!(opened.expect("it opens").info().await.expect("it answers").backend, "postgres");
        return;
    }
    let home = Home::new();
    let children: Vec<_> = (0..10).map(|_| child("ten_processes_open_a_new_schema_at_once", &home)).collect();
    for child in children {
        let output = child.wait_with_output().expect("an exit");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let count = format!("SELECT count(*) FROM {}.migration", home.schema());
    let versions: i64 = home.client().await.query_one(&count, &[]).await.expect("a ledger").get(0);
    assert_eq!(versions, 1);
    let store: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    Line::grown(&store, "t", 2).await.assert_stored().await;
}

#[tokio::test]
async fn newer_schema_is_refused() {
    let home = Home::new();
    drop(home.open().await);
    let newer = format!("INSERT INTO {}.migration VALUES (99, '0099_later', '\\x00')", home.schema());
    home.client().await.execute(&newer, &[]).await.expect("a newer version");
    let refusal = refusal(&home).await;
    assert!(refusal.is(ErrorKind::Unsupported, Subject::Store), "{refusal}");
    assert!(refusal.to_string().contains("version is 99"), "{refusal}");
}

#[tokio::test]
async fn changed_ledger_is_refused() {
    let home = Home::new();
    drop(home.open().await);
    let changed = format!("UPDATE {}.migration SET checksum = '\\x00'", home.schema());
    home.client().await.execute(&changed, &[]).await.expect("another ledger");
    assert!(refusal(&home).await.is(ErrorKind::Corrupt, Subject::Store));
}

#[tokio::test]
async fn tables_of_another_application_are_left_alone() {
    let home = Home::new();
    let client = home.client().await;
    let schema = home.schema();
    client.batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.other ()")).await.expect("a table");
    drop(home.open().await);
    let clashing = Home::new();
    let schema = clashing.schema();
    client.batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.branch ()")).await.expect("a table");
    let refusal = refusal(&clashing).await;
    assert!(refusal.is(ErrorKind::Unsupported, Subject::Store), "{refusal}");
    assert!(refusal.to_string().contains("\"branch\""), "{refusal}");
    let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
    let count: i64 = client.query_one(&tables, &[]).await.expect("a count").get(0);
    assert_eq!(count, 1, "nothing was made beside it");
}

#[tokio::test]
async fn any_name_is_a_schema() {
    let home = Home::new();
    for name in [format!("{} \"; DROP SCHEMA public; --", home.schema()), format!("{}@$1 Ünïcode", home.schema())] {
        let opened = home.options().schema(&name).open(home.url()).await.expect("it opens");
        let store: Arc<dyn CheckpointStore> = Arc::new(opened);
        Line::grown(&store, "t", 3).await.assert_stored().await;
        let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = 'checkpoint'";
        let count: i64 = home.client().await.query_one(sql, &[&name]).await.expect("a count").get(0);
        assert_eq!(count, 1);
    }
}

#[tokio::test]
async fn two_schemas_are_two_stores() {
    let (one, other) = (Home::new(), Home::new());
    let store: Arc<dyn CheckpointStore> = Arc::new(one.open().await);
    let line = Line::grown(&store, "t", 1).await;
    let missing = other.open().await.load(line.whole()).await.expect_err("it is not here");
    assert!(missing.is(ErrorKind::Missing, Subject::Thread), "{missing}");
}

#[tokio::test]
async fn pool_of_the_application_is_used() {
    let home = Home::new();
    let manager = Manager::new(home.url().parse().expect("an address"), NoTls);
    let pool = Pool::builder(manager).max_size(2).build().expect("a pool");
    let opened = home.options().from_pool(pool.clone()).await.expect("it opens");
    let store: Arc<dyn CheckpointStore> = Arc::new(opened);
    Line::grown(&store, "t", 3).await.assert_stored().await;
    assert!((1..=2).contains(&pool.status().size));
    let path: String = {
        let client = pool.get().await.expect("a connection");
        client.query_one("SHOW search_path", &[]).await.expect("a path").get(0)
    };
    assert_eq!(path, "\"$user\", public", "the store leaves nothing on the application's connections");
}

#[tokio::test]
async fn unreachable_server_is_named_without_its_password() {
    let options = PostgresStore::options().reconnect_ms(50);
    let refused = options.open("postgres://agents:secret@127.0.0.1:1/agents").await.expect_err("nobody listens");
    assert!(refused.is(ErrorKind::Unavailable, Subject::Store), "{refused}");
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("127.0.0.1:1/agents") && !text.contains("secret"), "{text}");
    let unread = PostgresStore::open("postgres://agents:secret@host:port/agents").await.expect_err("no number");
    assert!(unread.is(ErrorKind::Invalid, Subject::Store), "{unread}");
    assert!(!format!("{unread} {unread:?}").contains("secret"), "{unread:?}");
}

#[tokio::test]
async fn absent_database_is_refused_by_name() {
    let home = Home::new();
    let url = home.url().replace("/postgres", "/absent");
    let refused = home.options().open(&url).await.expect_err("it is not there");
    assert!(refused.is(ErrorKind::Unsupported, Subject::Store), "{refused}");
    assert!(refused.to_string().contains("/absent"), "{refused}");
}

#[cfg(feature = "tls")]
mod encrypted {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use rustls::{ClientConfig, RootCertStore};
    use stepmark_testbed::PostgresServer;

    use super::*;

    /// Trusts whoever has the certificate of this server.
    fn trusting(server: &PostgresServer) -> Arc<ClientConfig> {
        let certificate = server.certificate().expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&certificate).expect("it is PEM")).expect("it is a certificate");
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }

    fn address(server: &PostgresServer, mode: &str) -> String {
        format!("{}?sslmode={mode}&application_name=encrypted", server.url())
    }

    #[tokio::test]
    async fn connections_are_encrypted_for_a_known_certificate_alone() {
        let [server, other] = [(); 2].map(|()| PostgresServer::start_encrypted().expect("a server"));
        let options = || PostgresStore::options().connections(2).reconnect_ms(0);
        let known = trusting(&server);
        let pool = {
            let tls = tokio_postgres_rustls::MakeRustlsConnect::new((*known).clone());
            let manager = Manager::new(address(&server, "require").parse().expect("an address"), tls);
            Pool::builder(manager).max_size(2).build().expect("a pool")
        };
        for mode in ["require", "prefer"] {
            let opened = options().tls(Arc::clone(&known)).open(&address(&server, mode)).await.expect("it opens");
            let store: Arc<dyn CheckpointStore> = Arc::new(opened);
            Line::grown(&store, mode, 2).await.assert_stored().await;
            let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                       WHERE application_name = 'encrypted'";
            let client = pool.get().await.expect("a connection");
            assert!(client.query_one(sql, &[]).await.expect("an answer").get::<_, bool>(0), "{mode}");
        }
        let of_pool: Arc<dyn CheckpointStore> = Arc::new(options().from_pool(pool).await.expect("it opens"));
        Line::grown(&of_pool, "of a pool", 2).await.assert_stored().await;
        let unknown = options().tls(trusting(&other)).open(&address(&server, "require")).await;
        let refusal = unknown.expect_err("nobody knows this certificate");
        assert!(refusal.is(ErrorKind::Unsupported, Subject::Store), "{refusal}");
        assert!(refusal.to_string().contains("certificate"), "{refusal}");
        let plain = options().open(&address(&server, "disable")).await.expect_err("the server takes no plain text");
        assert!(plain.is(ErrorKind::Unsupported, Subject::Store), "{plain}");
    }

    #[tokio::test]
    async fn plain_text_is_refused_where_encryption_is_demanded() {
        let home = Home::new();
        let url = format!("{}?sslmode=require", home.url());
        let tls =
            Arc::new(ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        for options in [home.options(), home.options().tls(tls)] {
            let refusal = options.reconnect_ms(0).open(&url).await.expect_err("nothing is encrypted");
            assert!(refusal.is(ErrorKind::Unsupported, Subject::Store), "{refusal}");
        }
    }
}
