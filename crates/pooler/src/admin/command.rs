//! The commands: their grammar, and who may give them.
//!
//! Invariant: every text is a command or a [`CommandError`], never a panic; what is not in the
//! grammar is refused whole, nothing of it is guessed. Each command has its line in
//! [`Command::needs`], which has no line for "any other".

use std::str::Chars;

use super::error::CommandError;

/// What somebody on the console may do, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing.
    Nobody,
    /// Look.
    Stats,
    /// Everything.
    Admin,
}

/// A command of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let no new work begin, and tell when servers are free.
    Pause(Option<String>),
    /// Undo a pause, a kill or a suspension.
    Resume(Option<String>),
    /// Stop at packet boundaries.
    Suspend,
    /// Drop clients and servers at once and leave it paused.
    Kill(Option<String>),
    /// Close the client with this `id`.
    KillClient(u64),
    /// Replace all servers as they come free.
    Reconnect(Option<String>),
    /// Tell when all replaced servers are gone.
    WaitClose(Option<String>),
    /// Refuse new clients.
    Disable(String),
    /// Accept new clients again.
    Enable(String),
    /// Read the files again.
    Reload,
    /// Stop.
    Shutdown(Shutdown),
    /// Change a setting.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A SET that clients send by habit; it is answered and ignored.
    FakeSet(FakeParameter),
    /// Show something.
    Show(Show),
    /// A SHOW that clients send by habit.
    FakeShow(FakeParameter),
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// At once.
    Now,
    /// When servers are free.
    WaitForServers,
    /// When clients have left.
    WaitForClients,
}

/// Defines an enum of words that are read whatever the case of their letters.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident; $( $(#[$vmeta:meta])* $variant:ident = $word:literal, )+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$vmeta])* $variant, )+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[ $( $name::$variant, )+ ];

            /// Returns the word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( $name::$variant => $word, )+
                }
            }

            fn find(word: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|one| one.as_str().eq_ignore_ascii_case(word))
            }
        }
    };
}

words! {
    /// What SHOW shows.
    Show;
    /// Clients that have something in their buffers, and such servers.
    ActiveSockets = "active_sockets",
    /// Clients.
    Clients = "clients",
    /// Settings.
    Config = "config",
    /// Entries of `[databases]`.
    Databases = "databases",
    /// Names in the address cache.
    DnsHosts = "dns_hosts",
    /// Zones in the address cache.
    DnsZones = "dns_zones",
    /// Descriptors, for a takeover.
    Fds = "fds",
    /// The commands.
    Help = "help",
    /// Sizes of the internal lists.
    Lists = "lists",
    /// Memory.
    Mem = "mem",
    /// Connections to peers.
    PeerPools = "peer_pools",
    /// Entries of `[peers]`.
    Peers = "peers",
    /// Pools.
    Pools = "pools",
    /// Servers.
    Servers = "servers",
    /// Clients and servers with what is in their buffers.
    Sockets = "sockets",
    /// Whether the pooler runs.
    State = "state",
    /// Counts and averages.
    Stats = "stats",
    /// Averages.
    StatsAverages = "stats_averages",
    /// Counts.
    StatsTotals = "stats_totals",
    /// Counts and averages over all databases.
    Totals = "totals",
    /// Users.
    Users = "users",
    /// The version.
    Version = "version",
}

words! {
    /// A parameter of servers that clients ask the console for.
    FakeParameter;
    /// The encoding.
    ClientEncoding = "client_encoding",
    /// The isolation.
    DefaultTransactionIsolation = "default_transaction_isolation",
    /// The meaning of backslashes.
    StandardConformingStrings = "standard_conforming_strings",
    /// The form of dates.
    DateStyle = "datestyle",
    /// The time zone.
    TimeZone = "timezone",
    /// The form of floating-point numbers.
    ExtraFloatDigits = "extra_float_digits",
}

impl FakeParameter {
    /// Returns the value that is shown.
    pub fn value(self) -> &'static str {
        match self {
            FakeParameter::ClientEncoding => "UTF-8",
            FakeParameter::DefaultTransactionIsolation => "read committed",
            FakeParameter::StandardConformingStrings => "on",
            FakeParameter::DateStyle => "ISO",
            FakeParameter::TimeZone => "GMT",
            FakeParameter::ExtraFloatDigits => "2",
        }
    }
}

impl Command {
    /// Returns what one must be to give this command.
    pub fn needs(&self) -> Role {
        match self {
            Command::Pause(_)
            | Command::Resume(_)
            | Command::Suspend
            | Command::Kill(_)
            | Command::KillClient(_)
            | Command::Reconnect(_)
            | Command::WaitClose(_)
            | Command::Disable(_)
            | Command::Enable(_)
            | Command::Reload
            | Command::Shutdown(_)
            | Command::Set { .. } => Role::Admin,
            Command::FakeSet(_) | Command::FakeShow(_) => Role::Stats,
            Command::Show(show) => match show {
                // Cancel keys and secrets of all users.
                Show::Fds => Role::Admin,
                Show::ActiveSockets
                | Show::Clients
                | Show::Config
                | Show::Databases
                | Show::DnsHosts
                | Show::DnsZones
                | Show::Help
                | Show::Lists
                | Show::Mem
                | Show::PeerPools
                | Show::Peers
                | Show::Pools
                | Show::Servers
                | Show::Sockets
                | Show::State
                | Show::Stats
                | Show::StatsAverages
                | Show::StatsTotals
                | Show::Totals
                | Show::Users
                | Show::Version => Role::Stats,
            },
        }
    }

    /// Checks that `role` may give this command.
    ///
    /// # Errors
    /// It may not.
    pub fn authorize(&self, role: Role) -> Result<(), CommandError> {
        if role >= self.needs() {
            return Ok(());
        }
        Err(if role == Role::Nobody { CommandError::NotAllowed } else { CommandError::AdminNeeded })
    }

    /// Returns the tag of its completion; that of SET tells what was set.
    pub fn tag(&self) -> String {
        match self {
            Command::Set { key, value } => format!("SET {key}={value}"),
            other => other.name().to_owned(),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Pause(_) => "PAUSE",
            Command::Resume(_) => "RESUME",
            Command::Suspend => "SUSPEND",
            Command::Kill(_) => "KILL",
            Command::KillClient(_) => "KILL_CLIENT",
            Command::Reconnect(_) => "RECONNECT",
            Command::WaitClose(_) => "WAIT_CLOSE",
            Command::Disable(_) => "DISABLE",
            Command::Enable(_) => "ENABLE",
            Command::Reload => "RELOAD",
            Command::Shutdown(_) => "SHUTDOWN",
            Command::Set { .. } | Command::FakeSet(_) => "SET",
            Command::Show(_) | Command::FakeShow(_) => "SHOW",
        }
    }

    /// Returns the database it is about, if it names one.
    pub fn database(&self) -> Option<&str> {
        match self {
            Command::Pause(database)
            | Command::Resume(database)
            | Command::Kill(database)
            | Command::Reconnect(database)
            | Command::WaitClose(database) => database.as_deref(),
            Command::Disable(database) | Command::Enable(database) => Some(database),
            _ => None,
        }
    }

    /// Returns the error for this command on the console's own database, if it refuses that;
    /// RESUME does not, it finds that the console is never paused.
    pub fn refused_on_console(&self) -> Option<CommandError> {
        let verb = match self {
            Command::Pause(_) => "pause",
            Command::Kill(_) => "kill",
            Command::Reconnect(_) => "reconnect",
            Command::WaitClose(_) => "wait in",
            Command::Disable(_) => "disable",
            Command::Enable(_) => "enable",
            _ => return None,
        };
        let database = self.database()?.to_owned();
        Some(CommandError::AdminDatabase { verb, database })
    }

    /// Returns the line that is logged when the command is carried out; looking is not logged.
    pub fn log_line(&self) -> Option<String> {
        let name = match self {
            Command::Show(_) | Command::FakeShow(_) | Command::FakeSet(_) => return None,
            Command::Shutdown(Shutdown::WaitForServers) => "SHUTDOWN WAIT_FOR_SERVERS",
            Command::Shutdown(Shutdown::WaitForClients) => "SHUTDOWN WAIT_FOR_CLIENTS",
            other => other.name(),
        };
        Some(match self.database() {
            Some(database) => format!("{name} '{database}' command issued"),
            None => format!("{name} command issued"),
        })
    }
}

/// Reads a command.
///
/// # Errors
/// The text is none.
pub fn parse(text: &str) -> Result<Command, CommandError> {
    let invalid = || CommandError::Invalid(shortened(text));
    if let Some((name, argument)) = simple(text) {
        return from_words(&name, argument).unwrap_or_else(|| Err(invalid()));
    }
    let (key, value) = assignment(text).ok_or_else(invalid)?;
    if key.is_empty() {
        return Err(invalid());
    }
    Ok(match FakeParameter::find(&key) {
        Some(parameter) => Command::FakeSet(parameter),
        None => Command::Set { key, value },
    })
}

/// Reads a command and checks that `role` may give it. Whoever may not give a command is not
/// told what is wrong with its argument either.
///
/// # Errors
/// The text is no command, or not one for this role.
pub fn read(text: &str, role: Role) -> Result<Command, CommandError> {
    let command = match parse(text) {
        Err(CommandError::InvalidClient | CommandError::DatabaseRequired) if role < Role::Admin => {
            return Err(CommandError::AdminNeeded);
        }
        parsed => parsed?,
    };
    command.authorize(role)?;
    Ok(command)
}

/// The longest part of a wrong command that is repeated.
const REPEATED_MAX: usize = 900;

fn shortened(text: &str) -> String {
    text.chars().take(REPEATED_MAX).collect()
}

/// Builds the command from its words; `None` if there is no such command.
fn from_words(name: &str, argument: Option<String>) -> Option<Result<Command, CommandError>> {
    let argument = argument.filter(|argument| !argument.is_empty());
    let command = match name.to_ascii_lowercase().as_str() {
        "pause" => Command::Pause(argument),
        "resume" => Command::Resume(argument),
        "kill" => Command::Kill(argument),
        "reconnect" => Command::Reconnect(argument),
        "wait_close" => Command::WaitClose(argument),
        "suspend" if argument.is_none() => Command::Suspend,
        "reload" if argument.is_none() => Command::Reload,
        "disable" | "enable" => match argument {
            None => return Some(Err(CommandError::DatabaseRequired)),
            Some(database) if name.eq_ignore_ascii_case("disable") => Command::Disable(database),
            Some(database) => Command::Enable(database),
        },
        "kill_client" => {
            let digits = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
            let id = argument.filter(digits).and_then(|text| text.parse().ok());
            match id {
                Some(id) => Command::KillClient(id),
                None => return Some(Err(CommandError::InvalidClient)),
            }
        }
        "shutdown" => match argument {
            None => Command::Shutdown(Shutdown::Now),
            Some(when) if when.eq_ignore_ascii_case("wait_for_servers") => {
                Command::Shutdown(Shutdown::WaitForServers)
            }
            Some(when) if when.eq_ignore_ascii_case("wait_for_clients") => {
                Command::Shutdown(Shutdown::WaitForClients)
            }
            Some(_) => return None,
        },
        "show" | "select" => {
            let what = argument?;
            match FakeParameter::find(&what) {
                Some(parameter) => Command::FakeShow(parameter),
                None => Command::Show(Show::find(&what)?),
            }
        }
        _ => return None,
    };
    Some(Ok(command))
}

/// Reads `CMD [ARG] [;]`.
fn simple(text: &str) -> Option<(String, Option<String>)> {
    let mut reader = Reader::new(text);
    reader.blanks();
    let name = reader.word()?;
    let argument = if reader.blanks() { reader.word() } else { None };
    reader.end().then_some((name, argument))
}

/// Reads `SET key = value [;]` or `SET key TO value [;]`.
fn assignment(text: &str) -> Option<(String, String)> {
    let mut reader = Reader::new(text);
    reader.blanks();
    if !reader.keyword("set") || !reader.blanks() {
        return None;
    }
    let key = reader.word()?;
    reader.blanks();
    if !reader.keyword("=") && !reader.keyword("to") {
        return None;
    }
    reader.blanks();
    let value = match reader.quoted('\'') {
        Some(value) => value,
        None => reader.word()?,
    };
    reader.end().then_some((key, value))
}

/// A place in a text.
struct Reader<'a> {
    rest: Chars<'a>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars() }
    }

    /// Skips blanks; true if there were some.
    fn blanks(&mut self) -> bool {
        let before = self.rest.as_str();
        let after = before.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest = after.chars();
        after.len() < before.len()
    }

    /// Skips this keyword, whatever the case of its letters; true if it was there.
    fn keyword(&mut self, word: &str) -> bool {
        let text = self.rest.as_str();
        match text.get(..word.len()) {
            Some(start) if start.eq_ignore_ascii_case(word) => {
                self.rest = text.get(word.len()..).unwrap_or_default().chars();
                true
            }
            _ => false,
        }
    }

    /// Reads a word, bare or in double quotes.
    fn word(&mut self) -> Option<String> {
        if let Some(word) = self.quoted('"') {
            return Some(word);
        }
        let text = self.rest.as_str();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest.chars();
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// Reads a quoted text, a doubled quote standing for itself; nothing is skipped if there
    /// is none.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut rest = self.rest.as_str().strip_prefix(quote)?;
        let mut value = String::new();
        loop {
            let (before, after) = rest.split_once(quote)?;
            value.push_str(before);
            match after.strip_prefix(quote) {
                Some(after) => {
                    value.push(quote);
                    rest = after;
                }
                None => {
                    self.rest = after.chars();
                    return Some(value);
                }
            }
        }
    }

    /// Returns true if only blanks and one semicolon are left.
    fn end(mut self) -> bool {
        self.blanks();
        if self.keyword(";") {
            self.blanks();
        }
        self.rest.as_str().is_empty()
    }
}

/// Entry point for the fuzzers: any bytes are a command or an error.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text) {
        Ok(command) => {
            assert!(command.authorize(Role::Nobody).is_err());
            assert!(command.authorize(Role::Admin).is_ok());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
