//! Answers of the console as messages.
//!
//! Invariant: every answer ends with ReadyForQuery, so that the asker may go on; the one to
//! SHUTDOWN, which has none, is not made here.

use headpond_wire::backend::{self, Column, Notice, Status};
use headpond_wire::{Severity, SqlState};

use super::error::CommandError;
use super::show::{Kind, Table, Value};

/// Appends a table and its completion.
pub fn table(out: &mut Vec<u8>, table: &Table) {
    let columns: Vec<Column<'_>> = table
        .columns()
        .iter()
        .map(|column| {
            let name = column.name.as_bytes();
            match column.kind {
                Kind::Text => Column::text(name),
                Kind::Int => Column::int4(name),
                Kind::Big => Column::int8(name),
                Kind::Numeric => Column::numeric(name),
            }
        })
        .collect();
    backend::row_description(out, &columns);
    for row in table.rows() {
        let texts: Vec<Option<Vec<u8>>> = row
            .iter()
            .zip(table.columns())
            .map(|(value, column)| text_of(value, column.kind))
            .collect();
        let values: Vec<Option<&[u8]>> = texts.iter().map(Option::as_deref).collect();
        backend::data_row(out, &values);
    }
    done(out, "SHOW");
}

fn text_of(value: &Value, kind: Kind) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone().into_bytes()),
        Value::Number(number) => {
            let most = match kind {
                Kind::Int => u64::from(i32::MAX.unsigned_abs()),
                Kind::Big => i64::MAX.unsigned_abs(),
                Kind::Numeric | Kind::Text => u64::MAX,
            };
            Some((*number).min(most).to_string().into_bytes())
        }
    }
}

/// Appends the completion of a command.
pub fn done(out: &mut Vec<u8>, tag: &str) {
    // A tag is a C string; the value of a SET is the asker's own.
    backend::command_complete(out, tag.replace('\0', "").as_bytes());
    backend::ready_for_query(out, Status::Idle);
}

/// Appends the answer to a command that was not carried out.
pub fn error(out: &mut Vec<u8>, error: &CommandError) {
    let text = error.to_string().replace('\0', "");
    backend::error_response(out, &Notice::error(error.sqlstate(), &text));
    backend::ready_for_query(out, Status::Idle);
}

/// Appends the answer to SHOW HELP.
pub fn help(out: &mut Vec<u8>) {
    let notice = Notice::new(Severity::Notice, SqlState::SUCCESS, "Console usage");
    backend::notice_response(out, &notice.with_detail(USAGE));
    done(out, "SHOW");
}

/// Appends the answer to a SET that is ignored.
pub fn fake_set(out: &mut Vec<u8>) {
    notice(out, "SET ignored");
    done(out, "SET");
}

/// Appends a NOTICE, which goes before a completion.
pub fn notice(out: &mut Vec<u8>, text: &str) {
    let notice = Notice::new(Severity::Notice, SqlState::SUCCESS, text);
    backend::notice_response(out, &notice);
}

const USAGE: &str = "
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
\tSHOW PEERS|PEER_POOLS
\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
\tSET key = arg
\tRELOAD
\tPAUSE [<db>]
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <client_id>
\tSUSPEND
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
\tWAIT_CLOSE [<db>]";
