//! What is read of consoles of several versions, and of what is none.

use super::*;
use crate::model::Through;

/// A console whose answers are written down; what is not is refused, as an old one does.
struct Written(Vec<(&'static str, Table)>);

impl Console for Written {
    async fn ask(&mut self, question: &'static str) -> Result<Answer, CheckError> {
        let known = self.0.iter().find(|(asked, _)| *asked == question);
        let refused = || format!("invalid command '{question}', use SHOW HELP;");
        Ok(known.map(|(_, table)| table.clone()).ok_or_else(refused))
    }
}

fn table(lines: &str) -> Table {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<String> = cells(lines.next().unwrap_or_default());
    let value = |cell: String| (cell != "NULL").then_some(cell);
    let row = |line| -> Vec<_> { Vec::into_iter(cells(line)).map(value).collect() };
    Table { columns, rows: lines.map(row).collect() }
}

async fn read(answers: Vec<(&'static str, Table)>) -> Result<BouncerFigures, CheckError> {
    figures(&mut Written(answers)).await
}

fn pools(more: &str) -> Table {
    table(&format!(
        "database | user | cl_active | cl_waiting | new_one | sv_active | sv_idle | sv_used | \
         sv_tested | sv_login | maxwait | maxwait_us | pool_mode\n\
         pgbouncer | stats | 1 | 0 | ? | 0 | 0 | 0 | 0 | 0 | 0 | 0 | statement\n{more}"
    ))
}

#[tokio::test]
async fn an_old_console_is_read_by_the_names_of_its_columns() {
    let figures = read(vec![
        ("SHOW VERSION", table("version\nPgBouncer 1.18.0")),
        (
            "SHOW POOLS",
            pools(
                "calm | web | 2 | 0 | ? | 1 | 3 | 1 | 1 | 1 | 0 | 0 | session\n\
                 shop | web | 4 | 7 | ? | 2 | 0 | 0 | 0 | 0 | 3 | 500000 | transaction",
            ),
        ),
        (
            "SHOW DATABASES",
            table(
                "name | pool_size | reserve_pool | force_user | paused | disabled\n\
                 calm | 20 | 0 | NULL | 0 | 0\nshop | 2 | 0 | NULL | 1 | 0\n\
                 pgbouncer | 2 | 0 | pgbouncer | 0 | 0",
            ),
        ),
        ("SHOW USERS", table("name | pool_mode\nweb | NULL")),
        (
            "SHOW LISTS",
            table("list | items\nused_clients | 14\nfree_servers | 4\nused_servers | 3"),
        ),
        ("SHOW CONFIG", table("key | value | changeable\nmax_client_conn | 100 | yes")),
        (
            "SHOW STATS",
            table(
                "database | total_xact_count | total_query_count | total_received | total_sent | \
                 total_xact_time | total_query_time | total_wait_time\n\
                 shop | 10 | 20 | 300 | 400 | 5000000 | 4000000 | 1500000\n\
                 calm | 1 | 2 | 3 | 4 | 0 | 0 | 500000\n\
                 pgbouncer | 99 | 99 | 99 | 99 | 0 | 0 | 0",
            ),
        ),
    ])
    .await
    .expect("it is read");
    assert_eq!(figures.version, "PgBouncer 1.18.0");
    assert_eq!((figures.pools.len(), figures.pools_total), (2, 2));
    let first = &figures.pools[0];
    assert_eq!((first.database.as_str(), first.cl_waiting), ("shop", 7), "who waits comes first");
    assert_eq!((first.maxwait_seconds, first.pool_size), (3.5, Some(2)));
    assert_eq!(figures.pools[1].sv_other, 2);
    assert_eq!((figures.sum.cl_active, figures.sum.sv_active), (6, 3));
    assert_eq!((figures.clients, figures.clients_max, figures.servers), (14, 100, 3));
    assert_eq!(figures.used_ratio(), 0.14);
    assert_eq!(figures.state, BouncerState::Active, "it cannot say");
    assert_eq!(figures.databases[0].name, "shop", "who is paused comes first");
    let totals = figures.totals.expect("it says");
    assert_eq!((totals.queries, totals.transactions), (22, 11));
    assert_eq!((totals.received_bytes, totals.sent_bytes), (303, 404));
    assert_eq!((totals.wait_seconds, totals.query_seconds), (2.0, 4.0));
}

#[tokio::test]
async fn a_user_of_its_own_size_and_a_forced_user_are_found() {
    let figures = read(vec![
        (
            "SHOW POOLS",
            pools(
                "shop | owner | 1 | 0 | ? | 1 | 0 | 0 | 0 | 0 | 0 | 0 | session\n\
                 calm | web | 1 | 0 | ? | 1 | 0 | 0 | 0 | 0 | 0 | 0 | session",
            ),
        ),
        (
            "SHOW DATABASES",
            table(
                "name | pool_size | force_user\nshop | 7 | owner\ncalm | 0 | NULL\nnew | 9 | NULL",
            ),
        ),
        ("SHOW VERSION", table("version\nPgBouncer 1.25.2")),
        ("SHOW USERS", table("name | pool_size\nowner |         3\nweb | NULL")),
        ("SHOW STATE", table("key | value\nactive | no\npaused | yes\nsuspended | no")),
    ])
    .await
    .expect("it is read");
    let through = |database: &str| Through {
        pool: "main".into(),
        database: database.into(),
        user: "web".into(),
    };
    assert_eq!(figures.size_for(&through("shop")), Some(3));
    assert_eq!(figures.pool_of(&through("shop")).map(|pool| pool.user.as_str()), Some("owner"));
    assert_eq!(figures.size_for(&through("calm")), None, "unlimited");
    assert_eq!(figures.size_for(&through("new")), Some(9), "no pool yet");
    assert_eq!(figures.size_for(&through("none")), None);
    assert_eq!(figures.state, BouncerState::Paused);
    assert!(figures.totals.is_none() && figures.used_ratio() == 0.0);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_with_its_words() {
    let said = async |table: Table| {
        let error = read(vec![("SHOW POOLS", table)]).await.expect_err("unreadable");
        assert_eq!(error.kind, CheckErrorKind::Protocol);
        error.text
    };
    let without = table("database | user | cl_active\nshop | web | 1");
    assert_eq!(said(without).await, "SHOW POOLS: no column cl_waiting");
    let garbage = pools("shop | web | many | 0 | ? | 1 | 0 | 0 | 0 | 0 | 0 | 0 | session");
    assert_eq!(said(garbage).await, "SHOW POOLS: no number in column cl_active");
    assert_eq!(said(Table::default()).await, "SHOW POOLS: an answer without columns");
    let short = Table { rows: vec![vec![None]], ..pools("") };
    assert_eq!(said(short).await, "SHOW POOLS: no number in column cl_active");
    let error = read(Vec::new()).await.expect_err("refused");
    assert!(error.text.starts_with("SHOW POOLS: invalid command"), "{error:?}");
}

#[tokio::test]
async fn names_and_numbers_beyond_all_measure_are_cut() {
    let name = "x\u{1b}[2J".repeat(1000);
    let huge = u64::MAX;
    let row = format!("{name} | u | {huge} | 1 | ? | {huge} | 0 | 0 | {huge} | 9 | 0 | NaN | s");
    let figures = read(vec![("SHOW POOLS", pools(&[row.as_str(); 1500].join("\n")))]).await;
    let figures = figures.expect("it is read");
    assert_eq!((figures.pools.len(), figures.pools_total), (POOLS_MAX, 1500));
    assert_eq!((figures.sum.cl_active, figures.sum.sv_other), (huge, huge));
    let first = &figures.pools[0];
    assert_eq!(first.database.chars().count(), TEXT_MAX);
    assert!(!first.database.contains('\u{1b}') && first.maxwait_seconds == 0.0);
}

#[test]
fn an_old_console_is_not_asked_what_it_would_complain_about() {
    for (version, asked) in [
        ("PgBouncer 1.18.0", false),
        ("PgBouncer 1.25.2", true),
        ("PgBouncer 2.0", true),
        ("PgBouncer 1.x", false),
        ("something else", true),
        ("", false),
    ] {
        assert_eq!(tells_state(version), asked, "{version}");
    }
}

#[test]
fn who_may_not_look_is_told_from_who_is_refused() {
    let refused =
        |text: &str| login_error(CheckError { kind: CheckErrorKind::Refused, text: text.into() });
    let stranger = refused("not allowed");
    assert_eq!(stranger.kind, CheckErrorKind::NotAllowed);
    assert!(stranger.text.contains("stats_users"), "{stranger:?}");
    assert_eq!(refused("password authentication failed").kind, CheckErrorKind::Refused);
}
