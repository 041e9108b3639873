//! Limits that a server keeps for every session.
//!
//! Invariant: one statement that MySQL and MariaDB both understand; each reads only its own part.
//! Left out: limits of the pool.

use std::fmt::Write;
use std::time::Duration;

/// Limits of a session; `None` leaves the server's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) statement: Option<Duration>,
    pub(super) lock: Option<Duration>,
    pub(super) idle_in_transaction: Option<Duration>,
}

impl Limits {
    /// Returns the statement that sets them, if there are any.
    pub(super) fn sql(&self) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        // A list must begin with something that every server has: this changes nothing.
        let mut sql = "SET @@session.wait_timeout = @@session.wait_timeout".to_owned();
        let mut set = |part: std::fmt::Arguments<'_>| {
            sql.write_fmt(part).expect("a string takes everything");
        };
        if let Some(limit) = self.statement {
            set(format_args!(" /*M!100101 , max_statement_time = {} */", limit.as_secs_f64()));
            // MySQL counts milliseconds, 0 is no limit there.
            let ms = limit.as_millis().max(1);
            set(format_args!(" /*!50708 , max_execution_time = {ms} */"));
        }
        if let Some(limit) = self.lock {
            let seconds = whole_seconds(limit);
            set(format_args!(", innodb_lock_wait_timeout = {seconds}"));
            set(format_args!(", lock_wait_timeout = {seconds}"));
        }
        if let Some(limit) = self.idle_in_transaction {
            let seconds = whole_seconds(limit);
            set(format_args!(" /*M!100300 , idle_transaction_timeout = {seconds} */"));
        }
        Some(sql)
    }
}

/// Rounds up: less than a second would be none.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_for_no_limits() {
        assert_eq!(Limits::default().sql(), None);
    }

    #[test]
    fn limits_are_rounded_up_to_what_the_servers_count_in() {
        let ms = Duration::from_millis;
        let limits = Limits {
            statement: Some(ms(1500)),
            lock: Some(ms(1500)),
            idle_in_transaction: Some(ms(1)),
        };
        let expected = "SET @@session.wait_timeout = @@session.wait_timeout \
                        /*M!100101 , max_statement_time = 1.5 */ \
                        /*!50708 , max_execution_time = 1500 */, innodb_lock_wait_timeout = 2, \
                        lock_wait_timeout = 2 /*M!100300 , idle_transaction_timeout = 1 */";
        assert_eq!(limits.sql().as_deref(), Some(expected));
    }
}
