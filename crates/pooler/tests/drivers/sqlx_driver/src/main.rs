//! sqlx: its statement cache, its pool, types by name, transactions, COPY, errors.
//!
//! Connects as the usual PG* variables say; DRIVER_SERVERS is the number of servers behind the
//! pooler, absent when the driver talks to PostgreSQL itself.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

type Outcome = Result<(), Box<dyn Error>>;

const CLIENTS: usize = 8;

#[derive(Clone)]
struct Driver {
    options: PgConnectOptions,
    table: String,
    servers: usize,
    pids: Arc<Mutex<HashMap<usize, HashSet<i32>>>>,
}

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "sqlx_mood", rename_all = "lowercase")]
enum Mood {
    Sad,
    Glad,
}

#[tokio::main]
async fn main() {
    let driver = Driver::from_env();
    let mut steps = 0;
    step(&mut steps, "clients connect", driver.connect()).await;
    step(&mut steps, "values survive", driver.values()).await;
    step(&mut steps, "same names mean different statements", driver.same_names()).await;
    step(&mut steps, "same statement on all clients at once", driver.same_statement()).await;
    step(&mut steps, "a small cache closes statements", driver.small_cache()).await;
    step(&mut steps, "types are looked up by name", driver.named_types()).await;
    step(&mut steps, "transactions commit and roll back", driver.transactions()).await;
    step(&mut steps, "a dropped transaction is undone", driver.dropped_transaction()).await;
    step(&mut steps, "errors leave the client usable", driver.errors()).await;
    step(&mut steps, "several statements in one query", driver.several()).await;
    step(&mut steps, "copy goes both ways", driver.copy()).await;
    step(&mut steps, "rows stream and may be left half read", driver.streams()).await;
    step(&mut steps, "its pool serves many", driver.pool()).await;
    step(&mut steps, "large values pass", driver.large()).await;
    step(&mut steps, "servers were shared", driver.sharing()).await;
    step(&mut steps, "clients leave", driver.leave()).await;
    println!("PASS {steps} steps");
}

async fn step(steps: &mut u32, name: &str, run: impl Future<Output = Outcome>) {
    match tokio::time::timeout(Duration::from_secs(100), run).await {
        Ok(Ok(())) => {
            *steps += 1;
            println!("ok {name}");
        }
        Ok(Err(error)) => fail(name, &error.to_string()),
        Err(_) => fail(name, "too slow"),
    }
}

fn fail(name: &str, why: &str) {
    println!("{why}\nnot ok {name}");
    std::process::exit(1);
}

fn same<T: PartialEq + std::fmt::Debug>(left: T, right: T) -> Outcome {
    if left == right { Ok(()) } else { Err(format!("{left:?} is not {right:?}").into()) }
}

fn fails<T>(result: Result<T, sqlx::Error>, sqlstate: &str) -> Outcome {
    match result {
        Ok(_) => Err(format!("no error {sqlstate}").into()),
        Err(sqlx::Error::Database(error)) => same(error.code().as_deref(), Some(sqlstate)),
        Err(other) => Err(other.into()),
    }
}

impl Driver {
    fn from_env() -> Self {
        // sqlx reads PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE, PGSSLROOTCERT.
        let servers = std::env::var("DRIVER_SERVERS").map_or(0, |n| n.parse().expect("a number"));
        Self {
            options: PgConnectOptions::new().application_name("sqlx"),
            table: format!("t_sqlx_{}", std::process::id()),
            servers,
            pids: Arc::default(),
        }
    }

    async fn clients(&self) -> Result<Vec<PgConnection>, sqlx::Error> {
        try_join_all((0..CLIENTS).map(|_| self.options.connect())).await
    }

    fn seen(&self, client: usize, pid: i32) {
        self.pids.lock().expect("no panic").entry(client).or_default().insert(pid);
    }

    /// Runs `work(number, connection)` on all clients at once.
    async fn on_every_client<F, R>(&self, work: F) -> Outcome
    where
        F: Fn(Driver, usize, PgConnection) -> R,
        R: Future<Output = Outcome>,
    {
        let clients = self.clients().await?;
        let running = clients.into_iter().enumerate().map(|(n, c)| work(self.clone(), n, c));
        try_join_all(running).await.map(drop)
    }

    async fn connect(&self) -> Outcome {
        let tls = matches!(
            self.options.get_ssl_mode(),
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
        );
        same(
            tls,
            std::env::var("PGSSLMODE").is_ok_and(|m| m == "require" || m.starts_with("verify")),
        )?;
        for (number, mut client) in self.clients().await?.into_iter().enumerate() {
            let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut client).await?;
            self.seen(number, pid);
            client.ping().await?;
            client.close().await?;
        }
        Ok(())
    }

    async fn values(&self) -> Outcome {
        self.on_every_client(|_, _, mut client| async move {
            let sql = "select $1::int8, $2::text, $3::bytea, $4::text, $5::bool, $6::int4[]";
            for _ in 0..3 {
                let row = sqlx::query(sql)
                    .bind(-(1i64 << 62))
                    .bind("it's \\ ä 🐘")
                    .bind(&[0u8, 255, 1][..])
                    .bind(None::<String>)
                    .bind(true)
                    .bind(vec![Some(1i32), None, Some(3)])
                    .fetch_one(&mut client)
                    .await?;
                same(row.get::<i64, _>(0), -(1i64 << 62))?;
                same(row.get::<String, _>(1), "it's \\ ä 🐘".to_owned())?;
                same(row.get::<Vec<u8>, _>(2), vec![0, 255, 1])?;
                same(row.get::<Option<String>, _>(3), None)?;
                same(row.get::<bool, _>(4), true)?;
                same(row.get::<Vec<Option<i32>>, _>(5), vec![Some(1), None, Some(3)])?;
            }
            Ok(())
        })
        .await
    }

    /// Every client calls its first statement sqlx_s_1, and each means another query by it.
    async fn same_names(&self) -> Outcome {
        let mut clients = self.clients().await?;
        for turn in 0..30i32 {
            for (number, client) in clients.iter_mut().enumerate() {
                let factor = i32::try_from(number)? + 1;
                let sql = format!("select $1::int4 * {factor}, {number}, pg_backend_pid()");
                let row: (i32, i32, i32) =
                    sqlx::query_as(&sql).bind(turn).fetch_one(client).await?;
                same((row.0, row.1), (turn * factor, factor - 1))?;
                self.seen(number, row.2);
            }
        }
        Ok(())
    }

    async fn same_statement(&self) -> Outcome {
        self.on_every_client(|driver, number, mut client| async move {
            for turn in 0..200 {
                let tag = format!("{number}/{turn}");
                let sql = "select $1::text, pg_backend_pid()";
                let row: (String, i32) =
                    sqlx::query_as(sql).bind(&tag).fetch_one(&mut client).await?;
                same(row.0, tag)?;
                driver.seen(number, row.1);
            }
            Ok(())
        })
        .await
    }

    async fn small_cache(&self) -> Outcome {
        for capacity in [3, 0] {
            let mut small = self.clone();
            small.options = small.options.statement_cache_capacity(capacity);
            small
                .on_every_client(|_, number, mut client| async move {
                    for turn in 0..60i32 {
                        let kind = (turn * 7 + i32::try_from(number)?) % 11;
                        let sql = format!("select {kind}, $1::int4");
                        let row: (i32, i32) =
                            sqlx::query_as(&sql).bind(turn).fetch_one(&mut client).await?;
                        same(row, (kind, turn))?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// The lookup of the type runs between Parse and Bind of the query that needs it.
    async fn named_types(&self) -> Outcome {
        let mut first = self.options.connect().await?;
        first.execute("drop type if exists sqlx_mood").await?;
        first.execute("create type sqlx_mood as enum ('sad', 'glad')").await?;
        self.on_every_client(|_, _, mut client| async move {
            for mood in [Mood::Glad, Mood::Sad] {
                let sql = "select $1::sqlx_mood = 'glad', $1";
                let row = sqlx::query(sql).bind(&mood).fetch_one(&mut client).await?;
                same(row.get::<bool, _>(0), mood == Mood::Glad)?;
                same(row.get::<Mood, _>(1), mood)?;
            }
            Ok(())
        })
        .await?;
        first.execute("drop type sqlx_mood").await?;
        Ok(())
    }

    async fn transactions(&self) -> Outcome {
        let mut first = self.options.connect().await?;
        let create = format!("create table {} (id int8 primary key, who int8)", self.table);
        first.execute(create.as_str()).await?;
        self.on_every_client(|driver, number, mut client| async move {
            let who = i64::try_from(number)?;
            let insert = format!("insert into {} values ($1, $2)", driver.table);
            let delete = format!("delete from {} where who = $1", driver.table);
            for turn in 0..10 {
                let mut transaction = client.begin().await?;
                sqlx::query(&insert)
                    .bind(who * 100 + turn)
                    .bind(who)
                    .execute(&mut *transaction)
                    .await?;
                let mut savepoint = transaction.begin().await?;
                sqlx::query(&delete).bind(who).execute(&mut *savepoint).await?;
                savepoint.rollback().await?;
                if turn % 2 == 0 {
                    transaction.commit().await?;
                } else {
                    transaction.rollback().await?;
                }
            }
            Ok(())
        })
        .await?;
        let sql = format!("select count(*) from {} group by who", self.table);
        let counts: Vec<i64> = sqlx::query_scalar(&sql).fetch_all(&mut first).await?;
        same(counts, vec![5; CLIENTS])
    }

    async fn dropped_transaction(&self) -> Outcome {
        self.on_every_client(|driver, number, mut client| async move {
            let insert = format!("insert into {} values ($1, -1)", driver.table);
            for turn in 0..5 {
                let mut transaction = client.begin().await?;
                let id = -1 - i64::try_from(number * 10 + turn)?;
                sqlx::query(&insert).bind(id).execute(&mut *transaction).await?;
                drop(transaction);
                let sql = format!("select count(*) from {} where who = -1", driver.table);
                same(sqlx::query_scalar::<_, i64>(&sql).fetch_one(&mut client).await?, 0)?;
            }
            Ok(())
        })
        .await
    }

    async fn errors(&self) -> Outcome {
        self.on_every_client(|_, number, mut client| async move {
            let number = i32::try_from(number)?;
            for _ in 0..10 {
                fails(client.execute("selec 1").await, "42601")?;
                fails(
                    sqlx::query("select 1 / $1::int4").bind(0).fetch_one(&mut client).await,
                    "22012",
                )?;
                fails(
                    sqlx::query("select * from nowhere_at_all").execute(&mut client).await,
                    "42P01",
                )?;
                let got: i32 = sqlx::query_scalar("select $1::int4")
                    .bind(number)
                    .fetch_one(&mut client)
                    .await?;
                same(got, number)?;
            }
            client.execute("begin").await?;
            fails(
                sqlx::query("select 1 / $1::int4").bind(0).fetch_one(&mut client).await,
                "22012",
            )?;
            fails(sqlx::query("select $1::int4").bind(1).fetch_one(&mut client).await, "25P02")?;
            client.execute("rollback").await?;
            Ok(())
        })
        .await
    }

    async fn several(&self) -> Outcome {
        self.on_every_client(|_, _, mut client| async move {
            let rows = client.fetch_all("select 1 as n; select 2 as n where false; select 3 as n");
            let rows: Vec<i32> = rows.await?.iter().map(|row| row.get("n")).collect();
            same(rows, vec![1, 3])?;
            fails(client.execute("select 1; select 1/0; select 3").await, "22012")
        })
        .await
    }

    async fn copy(&self) -> Outcome {
        self.on_every_client(|driver, number, mut client| async move {
            let who = 1000 + number;
            let lines: String =
                (0..2000).map(|n| format!("{}\t{who}\n", who * 10_000 + n)).collect();
            let table = &driver.table;
            let mut copy = client.copy_in_raw(&format!("copy {table} from stdin")).await?;
            copy.send(lines.as_bytes()).await?;
            same(copy.finish().await?, 2000)?;
            let query =
                format!("copy (select * from {table} where who = {who} order by id) to stdout");
            let parts: Vec<_> = client.copy_out_raw(&query).await?.try_collect().await?;
            same(parts.concat(), lines.into_bytes())?;
            let mut copy = client.copy_in_raw(&format!("copy {table} from stdin")).await?;
            copy.send(&b"9999\t1\n"[..]).await?;
            copy.abort("changed my mind").await?;
            let sql = format!("select count(*) from {table} where id = 9999");
            same(sqlx::query_scalar::<_, i64>(&sql).fetch_one(&mut client).await?, 0)
        })
        .await
    }

    async fn streams(&self) -> Outcome {
        self.on_every_client(|_, number, mut client| async move {
            for _ in 0..3 {
                let sql = "select n, repeat('y', 50) from generate_series(1, 5000) n";
                let mut rows = sqlx::query(sql).fetch(&mut client);
                for expected in 1..=10i32 {
                    let row = rows.try_next().await?.ok_or("too few rows")?;
                    same(row.get::<i32, _>(0), expected)?;
                }
                drop(rows);
                let got: i64 = sqlx::query_scalar("select $1::int8")
                    .bind(i64::try_from(number)?)
                    .fetch_one(&mut client)
                    .await?;
                same(got, i64::try_from(number)?)?;
            }
            Ok(())
        })
        .await
    }

    async fn pool(&self) -> Outcome {
        let options = PgPoolOptions::new().max_connections(u32::try_from(CLIENTS)?);
        let pool: PgPool = options.connect_with(self.options.clone()).await?;
        let tasks = (0..200i32).map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut transaction = pool.begin().await?;
                let got: i32 = sqlx::query_scalar("select $1::int4")
                    .bind(n)
                    .fetch_one(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                Ok::<_, sqlx::Error>((n, got))
            })
        });
        for (expected, got) in
            try_join_all(tasks).await?.into_iter().collect::<Result<Vec<_>, _>>()?
        {
            same(got, expected)?;
        }
        pool.close().await;
        Ok(())
    }

    async fn large(&self) -> Outcome {
        let text = "x".repeat(3_000_000);
        let mut client = self.options.connect().await?;
        for _ in 0..3 {
            let back: String =
                sqlx::query_scalar("select $1::text").bind(&text).fetch_one(&mut client).await?;
            same(back == text, true)?;
        }
        let sql = "select repeat('y', 50) from generate_series(1, 50000)";
        same(sqlx::query(sql).fetch_all(&mut client).await?.len(), 50_000)
    }

    async fn sharing(&self) -> Outcome {
        if self.servers == 0 {
            return Ok(());
        }
        let pids = self.pids.lock().expect("no panic");
        let everyone: HashSet<i32> = pids.values().flatten().copied().collect();
        same(everyone.len() <= self.servers, true)?;
        same(pids.values().any(|pids| pids.len() > 1), true)
    }

    async fn leave(&self) -> Outcome {
        let mut client = self.options.connect().await?;
        client.execute(format!("drop table {}", self.table).as_str()).await?;
        client.close().await?;
        Ok(())
    }
}
