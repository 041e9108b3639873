//! What may happen to a server's sessions.
//!
//! Invariant: who is gone is noted at once, whoever else hears of it later.
//! Not here: when it happens (`chaos.rs`).

use headpond_wire::backend::{self, Notice};
use headpond_wire::{Severity, SqlState};

use super::{Around, Doom, Postgres, Stage};

impl Postgres {
    fn any_session(&mut self) -> Option<u64> {
        let sessions: Vec<u64> = self
            .conns
            .iter()
            .filter(|(_, conn)| !conn.lost && !matches!(conn.stage, Stage::Over))
            .map(|(id, _)| *id)
            .collect();
        if sessions.is_empty() { None } else { Some(*self.dice.pick(&sessions)) }
    }

    /// Ends a connection as its doom says.
    pub(super) fn kill(&mut self, id: u64, around: &mut Around<'_>) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        around.ledger.note(|| format!("backend {} is killed", conn.pid));
        around.ledger.transaction_lost(conn.pid);
        let reset = conn.doom.is_some_and(|doom| doom.reset);
        match conn.end.take() {
            Some(end) if reset => end.reset(),
            Some(end) => end.close(),
            None => {}
        }
    }

    /// Ends some connection at some byte.
    pub fn doom(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        let after = if self.dice.one_in(3) { 0 } else { self.dice.below(400) };
        let doom = Doom { after, reset: self.dice.one_in(2) };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.doom = Some(doom);
        let pid = conn.pid;
        around.ledger.fault(|| format!("backend {pid} ends after {after} bytes"));
        if after == 0 {
            self.kill(id, around);
        }
    }

    /// Ends some session as an administrator does.
    pub fn terminate(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Session(session) = &mut conn.stage else { return };
        session.die(b"57P01", "terminating connection due to administrator command");
        let pid = conn.pid;
        around.ledger.fault(|| format!("backend {pid} is terminated"));
        let out = std::mem::take(&mut session.out);
        self.write(id, &out, around);
        self.ended(id, around);
    }

    /// Breaks some connection on its way: both ends hear of it.
    pub fn cut(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        around.net.cut(id);
        self.lose(id, around, "cut");
    }

    /// Silences some connection: nobody ever hears of it.
    pub fn silence(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        around.net.silence(id);
        self.lose(id, around, "silent");
    }

    fn lose(&mut self, id: u64, around: &mut Around<'_>, how: &str) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.lost = true;
        conn.end = None;
        conn.stage = Stage::Over;
        let pid = conn.pid;
        around.ledger.fault(|| format!("backend {pid} is {how}"));
        around.ledger.transaction_lost(pid);
    }

    /// Says something unasked in some session, or changes a setting under it.
    pub fn volunteer(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.any_session() else { return };
        let zone = *self.dice.pick(&["GMT", "Europe/Vienna", "Asia/Tokyo"]);
        let changes = self.dice.one_in(3);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let owner = around.ledger.owner(conn.pid);
        let Stage::Session(session) = &mut conn.stage else { return };
        if !session.is_waiting() {
            return;
        }
        if changes {
            let pid = conn.pid;
            around.ledger.note(|| format!("backend {pid} is reconfigured: {zone}"));
            session.reconfigure("TimeZone", zone);
            session.report();
            session.volunteer(|_| {});
        } else {
            let whose = owner.map_or_else(|| "nobody".into(), |owner| format!("[c{owner}.0]"));
            let text = format!("unasked, for {whose}");
            let notice = Notice::new(Severity::Notice, SqlState::SUCCESS, &text);
            session.volunteer(|out| backend::notice_response(out, &notice));
        }
        let out = std::mem::take(&mut session.out);
        self.write(id, &out, around);
    }
}
