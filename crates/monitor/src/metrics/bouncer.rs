//! A real PgBouncer in a few numbers: whoever wants all of them has its own exporter.
//!
//! Invariant: one label, its place, which the configuration names; its own databases and users are
//! no labels. What it did not say is left out.
//! Not here: our own numbers under the names of that exporter (`pgbouncer.rs`).

use headpond_stats::Snapshot;

use crate::model::{Bouncer, BouncerFigures, BouncerState, CheckErrorKind};

pub(super) fn collect(bouncer: &Bouncer, into: &mut Snapshot) {
    let Some(check) = &bouncer.check else { return };
    let labels = [("pgbouncer", bouncer.name.as_str())];
    into.gauge("headpond_pgbouncer_check_seconds", "How long the last look at a PgBouncer took.")
        .add(&labels, check.took_seconds);
    // Whoever shows us nothing is there all the same.
    let kind = bouncer.error().map(|error| error.kind);
    let up = kind.is_none_or(|kind| kind == CheckErrorKind::NotAllowed);
    into.gauge("headpond_pgbouncer_up", "1 if a PgBouncer answered when it was last asked.")
        .add(&labels, u64::from(up));
    if let Some(figures) = bouncer.figures() {
        levels(&bouncer.name, figures, into);
        totals(&bouncer.name, figures, into);
    }
}

fn levels(name: &str, figures: &BouncerFigures, into: &mut Snapshot) {
    let labels = [("pgbouncer", name)];
    let sum = &figures.sum;
    for (state, count) in [("active", sum.cl_active), ("waiting", sum.cl_waiting)] {
        into.gauge("headpond_pgbouncer_clients", "Clients of a PgBouncer's pools by state.")
            .add(&[labels[0], ("state", state)], count);
    }
    for (state, count) in [
        ("active", sum.sv_active),
        ("idle", sum.sv_idle),
        ("used", sum.sv_used),
        ("other", sum.sv_other),
    ] {
        into.gauge("headpond_pgbouncer_servers", "Servers of a PgBouncer's pools by state.")
            .add(&[labels[0], ("state", state)], count);
    }
    let help = "Clients that a PgBouncer takes (max_client_conn), 0 if it does not say.";
    into.gauge("headpond_pgbouncer_clients_max", help).add(&labels, figures.clients_max);
    let help = "How long the first in a PgBouncer's lines has waited (maxwait).";
    into.gauge("headpond_pgbouncer_maxwait_seconds", help).add(&labels, sum.maxwait_seconds);
    let held = figures.state != BouncerState::Active || figures.databases.iter().any(|d| d.paused);
    into.gauge("headpond_pgbouncer_paused", "1 while a PgBouncer or a database of it is paused.")
        .add(&labels, u64::from(held));
}

fn totals(name: &str, figures: &BouncerFigures, into: &mut Snapshot) {
    let Some(totals) = &figures.totals else { return };
    let labels = [("pgbouncer", name)];
    for (name, help, count) in [
        ("queries", "Queries that a PgBouncer has finished.", totals.queries),
        ("transactions", "Transactions that a PgBouncer has finished.", totals.transactions),
        ("received_bytes", "Bytes that a PgBouncer got from clients.", totals.received_bytes),
        ("sent_bytes", "Bytes that a PgBouncer sent to clients.", totals.sent_bytes),
    ] {
        into.counter(&format!("headpond_pgbouncer_{name}_total"), help).add(&labels, count);
    }
    let help = "Time that clients of a PgBouncer waited for a server.";
    into.counter("headpond_pgbouncer_wait_seconds_total", help).add(&labels, totals.wait_seconds);
}
