//! tokio-postgres: pipelined queries, portals, types by name, COPY, cancels, channel binding.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use headpond_pooler::config::tls::SslMode;
use headpond_pooler::tls::{TlsFiles, client_config};
use tokio_postgres::config::{ChannelBinding, SslMode as Ask};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};

use super::tls_stream::MakeTls;

const CLIENTS: usize = 8;

/// What the driver talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// PostgreSQL itself.
    Nothing,
    PgBouncer,
    Headpond {
        servers: usize,
    },
}

/// Where to connect, and what answers there.
pub struct Checklist {
    config: Config,
    tls: MakeTls,
    behind: Behind,
    clients: Vec<Client>,
    pids: HashMap<usize, HashSet<i32>>,
}

impl Checklist {
    pub fn new(config: &Config, ca: &Path, behind: Behind) -> Self {
        let mut files = TlsFiles::new(SslMode::VerifyFull);
        files.ca = Some(ca.to_owned());
        let tls = client_config(&files).expect("the file is good").expect("TLS is on");
        let mut config = config.clone();
        config.ssl_mode(Ask::Require);
        Self { config, tls: MakeTls(tls), behind, clients: Vec::new(), pids: HashMap::new() }
    }

    /// Runs every step; panics at the first that fails.
    pub async fn run(&mut self) {
        self.scram_is_bound_to_the_session().await;
        println!("ok scram is bound to the session");
        self.clients_connect().await;
        println!("ok clients connect");
        self.same_names_mean_different_statements().await;
        println!("ok same names mean different statements");
        self.queries_in_flight_are_answered_in_order().await;
        println!("ok queries in flight are answered in order");
        self.clients_share_servers_under_load().await;
        println!("ok clients share servers under load");
        self.transactions_commit_and_roll_back().await;
        println!("ok transactions commit and roll back");
        self.an_abandoned_transaction_is_undone().await;
        println!("ok an abandoned transaction is undone");
        self.a_portal_lives_as_long_as_its_transaction().await;
        println!("ok a portal lives as long as its transaction");
        self.errors_leave_the_client_usable().await;
        println!("ok errors leave the client usable");
        self.types_are_looked_up().await;
        println!("ok types are looked up");
        self.several_statements_in_one_query().await;
        println!("ok several statements in one query");
        self.a_cancel_stops_the_query_it_is_meant_for().await;
        println!("ok a cancel stops the query it is meant for");
        self.large_values_pass().await;
        println!("ok large values pass");
        self.servers_were_shared();
        println!("ok servers were shared");
    }

    /// PgBouncer has no channel binding.
    async fn scram_is_bound_to_the_session(&self) {
        if self.behind == Behind::PgBouncer {
            return;
        }
        let mut config = self.config.clone();
        config.channel_binding(ChannelBinding::Require);
        let (client, connection) = config.connect(self.tls.clone()).await.expect("binds");
        let running = tokio::spawn(connection);
        client.simple_query("select 1").await.expect("an answer");
        drop(client);
        running.await.expect("the connection does not panic").expect("a clean end");
    }

    async fn connect(&self) -> Client {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.expect("the pooler lets us in");
        // How it ends shows in the next query.
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    async fn clients_connect(&mut self) {
        for number in 0..CLIENTS {
            let client = self.connect().await;
            self.clients.push(client);
            let row = self.clients[number].query_one("select pg_backend_pid()", &[]).await;
            self.seen(number, row.expect("an answer").get(0));
        }
    }

    fn seen(&mut self, client: usize, pid: i32) {
        self.pids.entry(client).or_default().insert(pid);
    }

    async fn same_names_mean_different_statements(&mut self) {
        let mut statements = Vec::new();
        for (number, client) in self.clients.iter().enumerate() {
            let sql = format!("select $1::int4 * {}, {number}, pg_backend_pid()", number + 1);
            statements.push(client.prepare(&sql).await.expect("prepares"));
        }
        for turn in 0..30 {
            for (number, statement) in statements.iter().enumerate() {
                let row = self.clients[number].query_one(statement, &[&turn]).await;
                let row = row.expect("an answer");
                let factor = i32::try_from(number).expect("small");
                assert_eq!((row.get::<_, i32>(0), row.get(1)), (turn * (factor + 1), factor));
                self.seen(number, row.get(2));
            }
        }
    }

    /// The driver sends Parse, Bind and Execute of all of them before it reads an answer.
    async fn queries_in_flight_are_answered_in_order(&self) {
        for client in &self.clients {
            let statement = client.prepare("select $1::int4 + 1").await.expect("prepares");
            let values: Vec<i32> = (0..50).collect();
            let queries: Vec<_> = values
                .iter()
                .map(|value| {
                    let statement = &statement;
                    async move { client.query_one(statement, &[value]).await }
                })
                .collect();
            let rows = all(queries).await;
            for (value, row) in values.iter().zip(rows) {
                assert_eq!(row.expect("an answer").get::<_, i32>(0), value + 1);
            }
        }
    }

    /// Each query takes long enough that all servers are busy and the others wait.
    async fn clients_share_servers_under_load(&mut self) {
        for _ in 0..10 {
            let sql = "select pg_backend_pid() from pg_sleep(0.005)";
            let queries = self.clients.iter().map(|client| client.query_one(sql, &[]));
            let rows = all(queries.collect()).await;
            for (number, row) in rows.into_iter().enumerate() {
                self.seen(number, row.expect("an answer").get(0));
            }
        }
    }

    async fn transactions_commit_and_roll_back(&mut self) {
        let create = "create table t_tokio (id int8 primary key, who int8)";
        self.clients[0].batch_execute(create).await.expect("creates");
        let work = self.clients.iter_mut().zip(0i64..).map(|(client, who)| async move {
            for turn in 0..10 {
                let mut transaction = client.transaction().await?;
                let insert = "insert into t_tokio values ($1, $2)";
                transaction.execute(insert, &[&(who * 100 + turn), &who]).await?;
                let savepoint = transaction.savepoint("s").await?;
                savepoint.execute("delete from t_tokio where who = $1", &[&who]).await?;
                savepoint.rollback().await?;
                if turn % 2 == 0 {
                    transaction.commit().await?;
                } else {
                    transaction.rollback().await?;
                }
            }
            Ok::<_, Error>(())
        });
        for done in all(work.collect()).await {
            done.expect("a transaction");
        }
        let counts = "select count(*) from t_tokio group by who";
        let rows = self.clients[1].query(counts, &[]).await.expect("an answer");
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [5; CLIENTS]);
    }

    async fn an_abandoned_transaction_is_undone(&mut self) {
        for client in &mut self.clients {
            let transaction = client.transaction().await.expect("begins");
            transaction.execute("insert into t_tokio values (-1, -1)", &[]).await.expect("inserts");
            drop(transaction);
            let left = client.query_one("select count(*) from t_tokio where who = -1", &[]).await;
            assert_eq!(left.expect("an answer").get::<_, i64>(0), 0);
        }
        self.clients[0].batch_execute("drop table t_tokio").await.expect("drops");
    }

    async fn a_portal_lives_as_long_as_its_transaction(&mut self) {
        let work = self.clients.iter_mut().zip(0i32..).map(|(client, number)| async move {
            let transaction = client.transaction().await?;
            let sql = "select n * $1 from generate_series(1, 1000) n";
            let portal = transaction.bind(sql, &[&number]).await?;
            let (mut total, mut count) = (0, 0);
            while count < 1000 {
                let rows = transaction.query_portal(&portal, 64).await?;
                count += rows.len();
                total += rows.iter().map(|row| row.get::<_, i32>(0)).sum::<i32>();
            }
            assert_eq!(total, 500_500 * number);
            transaction.commit().await
        });
        for done in all(work.collect()).await {
            done.expect("a transaction");
        }
    }

    async fn errors_leave_the_client_usable(&mut self) {
        for client in &mut self.clients {
            for _ in 0..5 {
                fails(client.simple_query("selec 1").await, &SqlState::SYNTAX_ERROR);
                let zero = client.query("select 1 / $1::int4", &[&0i32]).await;
                fails(zero, &SqlState::DIVISION_BY_ZERO);
                fails(client.prepare("select * from nowhere").await, &SqlState::UNDEFINED_TABLE);
            }
            let transaction = client.transaction().await.expect("begins");
            let zero = transaction.query("select 1 / $1::int4", &[&0i32]).await;
            fails(zero, &SqlState::DIVISION_BY_ZERO);
            let late = transaction.query("select $1::int4", &[&1i32]).await;
            fails(late, &SqlState::IN_FAILED_SQL_TRANSACTION);
            transaction.rollback().await.expect("rolls back");
        }
    }

    /// The lookup of a type runs between the preparation of a statement and its use.
    async fn types_are_looked_up(&self) {
        let first = &self.clients[0];
        first
            .batch_execute("create type t_tokio_mood as enum ('sad', 'glad')")
            .await
            .expect("creates");
        for client in &self.clients {
            let statement = client.prepare("select $1::t_tokio_mood").await.expect("prepares");
            assert_eq!(statement.params()[0].name(), "t_tokio_mood");
        }
        first.batch_execute("drop type t_tokio_mood").await.expect("drops");
    }

    async fn several_statements_in_one_query(&self) {
        for client in &self.clients {
            let sql = "select 1; select 2 where false; select 3";
            let messages = client.simple_query(sql).await.expect("answers");
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            assert_eq!(rows.collect::<Vec<_>>(), ["1", "3"]);
        }
    }

    /// The driver hangs up as soon as its cancel is sent: PgBouncer loses it if it came by TLS.
    async fn a_cancel_stops_the_query_it_is_meant_for(&self) {
        if self.behind == Behind::PgBouncer {
            return;
        }
        let (sleeper, other) = (&self.clients[0], &self.clients[1]);
        let sleep = sleeper.simple_query("select pg_sleep(60), 'tokio'");
        let cancel = async {
            let active = "select count(*) from pg_stat_activity where state = 'active' \
                          and query = 'select pg_sleep(60), ''tokio'''";
            while other.query_one(active, &[]).await.expect("an answer").get::<_, i64>(0) == 0 {}
            sleeper.cancel_token().cancel_query(self.tls.clone()).await.expect("cancels");
        };
        let (sleep, ()) = tokio::join!(sleep, cancel);
        fails(sleep, &SqlState::QUERY_CANCELED);
        for client in &self.clients {
            client.simple_query("select 1").await.expect("nobody else is hit");
        }
    }

    async fn large_values_pass(&self) {
        let text = "x".repeat(3_000_000);
        for client in &self.clients[..3] {
            let row = client.query_one("select $1::text", &[&text]).await.expect("an answer");
            assert!(row.get::<_, &str>(0) == text);
        }
        let sql = "select repeat('y', 50) from generate_series(1, 50000)";
        assert_eq!(self.clients[3].query(sql, &[]).await.expect("rows").len(), 50_000);
    }

    fn servers_were_shared(&self) {
        let Behind::Headpond { servers } = self.behind else {
            return;
        };
        let everyone: HashSet<i32> = self.pids.values().flatten().copied().collect();
        assert!(everyone.len() <= servers, "{} servers", everyone.len());
        assert!(self.pids.values().any(|pids| pids.len() > 1), "no client changed its server");
    }
}

fn fails<T>(result: Result<T, Error>, expected: &SqlState) {
    match result {
        Ok(_) => panic!("no error {expected:?}"),
        Err(error) => assert_eq!(error.code(), Some(expected), "{error}"),
    }
}

/// Runs futures at the same time; the results are in the order of the futures.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    let mut everything = pin!(std::future::poll_fn(move |cx| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                *output = Some(ready);
            }
        }
        if running.iter().any(|(_, output)| output.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(running.iter_mut().filter_map(|(_, output)| output.take()).collect())
    }));
    everything.as_mut().await
}
