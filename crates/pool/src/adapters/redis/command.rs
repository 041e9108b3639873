//! What a command does to the session it runs in.
//!
//! Invariant: a command that changes a session, or keeps it busy, is known by its name.
//! Left out: scripts: a server keeps what they select from their caller.

use redis::{Arg, Cmd};

/// What a command does to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing that the next user could notice.
    None,
    /// Waits for something to happen.
    Blocks,
    /// Begins to watch keys.
    Watch,
    /// Stops watching.
    Unwatch,
    /// Begins a transaction.
    Multi,
    /// Ends a transaction, and watching.
    End,
    /// Changes what only a reset changes back.
    Changes,
    /// Makes the session useless for others.
    Ruins,
}

pub(super) fn name(cmd: &Cmd) -> String {
    word(cmd, 0).unwrap_or_default()
}

fn word(cmd: &Cmd, place: usize) -> Option<String> {
    match cmd.args_iter().nth(place)? {
        Arg::Simple(bytes) => Some(String::from_utf8_lossy(bytes).to_ascii_uppercase()),
        _ => None,
    }
}

pub(super) fn effect(cmd: &Cmd) -> Effect {
    if cmd.is_no_response() {
        return Effect::Ruins;
    }
    match name(cmd).as_str() {
        "WATCH" => Effect::Watch,
        "UNWATCH" => Effect::Unwatch,
        "MULTI" => Effect::Multi,
        "EXEC" | "DISCARD" => Effect::End,
        "SELECT" | "AUTH" | "HELLO" | "RESET" | "READONLY" | "READWRITE" | "ASKING"
        | "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE"
        | "SUNSUBSCRIBE" => Effect::Changes,
        "MONITOR" | "QUIT" | "SYNC" | "PSYNC" | "REPLCONF" | "SHUTDOWN" => Effect::Ruins,
        "CLIENT" => match word(cmd, 1).as_deref() {
            // A reset does not undo the latter two.
            Some("REPLY" | "NO-EVICT" | "NO-TOUCH") => Effect::Ruins,
            Some("ID" | "LIST" | "INFO" | "GETNAME" | "KILL" | "PAUSE" | "UNPAUSE" | "UNBLOCK") => {
                Effect::None
            }
            _ => Effect::Changes,
        },
        "SCRIPT" if word(cmd, 1).as_deref() == Some("DEBUG") => Effect::Ruins,
        "BLPOP" | "BRPOP" | "BRPOPLPUSH" | "BLMOVE" | "BLMPOP" | "BZPOPMIN" | "BZPOPMAX"
        | "BZMPOP" | "WAIT" | "WAITAOF" => Effect::Blocks,
        "XREAD" | "XREADGROUP" => {
            let blocks = (1..6).any(|place| word(cmd, place).as_deref() == Some("BLOCK"));
            if blocks { Effect::Blocks } else { Effect::None }
        }
        _ => Effect::None,
    }
}

/// Returns whether a command may be sent again when nobody knows whether it was executed.
pub(super) fn is_repeatable(cmd: &Cmd) -> bool {
    const READS: &[&str] = &[
        "GET",
        "MGET",
        "STRLEN",
        "GETRANGE",
        "EXISTS",
        "TTL",
        "PTTL",
        "TYPE",
        "KEYS",
        "SCAN",
        "HGET",
        "HMGET",
        "HGETALL",
        "HEXISTS",
        "HKEYS",
        "HVALS",
        "HLEN",
        "HSCAN",
        "LRANGE",
        "LINDEX",
        "LLEN",
        "LPOS",
        "SMEMBERS",
        "SISMEMBER",
        "SMISMEMBER",
        "SCARD",
        "SINTER",
        "SUNION",
        "SDIFF",
        "SSCAN",
        "ZRANGE",
        "ZRANGEBYSCORE",
        "ZSCORE",
        "ZMSCORE",
        "ZCARD",
        "ZCOUNT",
        "ZRANK",
        "ZREVRANK",
        "ZREVRANGE",
        "ZSCAN",
        "GETBIT",
        "BITCOUNT",
        "BITPOS",
        "XRANGE",
        "XREVRANGE",
        "XLEN",
        "GEOPOS",
        "GEODIST",
        "GEOSEARCH",
        "PFCOUNT",
        "PING",
        "ECHO",
        "TIME",
        "INFO",
        "DBSIZE",
        "ROLE",
        "RANDOMKEY",
        "EXPIRETIME",
        "PEXPIRETIME",
        "OBJECT",
        "MEMORY",
        "DUMP",
        "COMMAND",
        "LASTSAVE",
    ];
    READS.contains(&name(cmd).as_str())
}

#[cfg(test)]
mod tests {
    use super::{Effect, effect, is_repeatable};

    fn read(text: &str) -> redis::Cmd {
        let mut cmd = redis::Cmd::new();
        for word in text.split(' ') {
            cmd.arg(word);
        }
        cmd
    }

    #[test]
    fn what_a_command_does_to_its_session_is_known() {
        let cases = [
            ("get k", Effect::None),
            ("watch k", Effect::Watch),
            ("MULTI", Effect::Multi),
            ("discard", Effect::End),
            ("SELECT 3", Effect::Changes),
            ("CLIENT REPLY OFF", Effect::Ruins),
            ("CLIENT NO-EVICT on", Effect::Ruins),
            ("CLIENT ID", Effect::None),
            ("CLIENT SETNAME x", Effect::Changes),
            ("subscribe c", Effect::Changes),
            ("MONITOR", Effect::Ruins),
            ("BLPOP k 0", Effect::Blocks),
            ("XREAD COUNT 1 BLOCK 0 STREAMS s 0", Effect::Blocks),
            ("XREAD STREAMS s 0", Effect::None),
        ];
        for (text, expected) in cases {
            assert_eq!(effect(&read(text)), expected, "{text}");
        }
    }

    #[test]
    fn only_reads_are_sent_twice() {
        assert!(is_repeatable(&read("get k")) && is_repeatable(&read("HGETALL h")));
        assert!(!is_repeatable(&read("INCR k")) && !is_repeatable(&read("GETDEL k")));
        assert!(!is_repeatable(&read("SET k v")));
    }
}
