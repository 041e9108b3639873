//! `headpond health`, `status`, `alerts`, `advise`, `top`: a running pooler, asked over HTTP.
//!
//! Invariant: stdout is the answer (JSON with `--json`, else lines for people), stderr why there
//! is none; the exit code says how it is.
//! Not here: deciding how it is (the pooler does that).

mod bouncer;
mod http;
mod print;
mod top;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::Failure;
use http::{Endpoint, Method};

/// Where to ask.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// The pooler's HTTP endpoint (http.listen)
    #[arg(
        long,
        value_name = "URL",
        env = "HEADPOND_HTTP_URL",
        default_value = "http://127.0.0.1:6433"
    )]
    url: String,
    /// File with the token that actions need, and reading from elsewhere
    #[arg(long, value_name = "FILE", env = "HEADPOND_TOKEN_FILE")]
    token_file: Option<std::path::PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Place {
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| Failure::path(path, e))?;
                Some(text.trim_end().to_owned())
            }
            None => None,
        };
        Endpoint::new(&self.url, token)
    }
}

/// `headpond health`.
#[derive(clap::Args, Debug)]
pub struct Health {
    #[command(flatten)]
    place: Place,
    /// One line and exit codes for monitoring plugins: 0 ok, 1 warning, 2 critical, 3 unknown
    #[arg(long)]
    nagios: bool,
    /// Ask only whether the process works, whatever its databases do (for Docker's HEALTHCHECK)
    #[arg(long)]
    live: bool,
    /// Ask only whether new clients should be sent there (for a readiness probe)
    #[arg(long, conflicts_with = "live")]
    ready: bool,
}

/// `headpond status`.
#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    place: Place,
}

/// `headpond top`.
#[derive(clap::Args, Debug)]
#[command(after_help = KEYS)]
pub struct Top {
    #[command(flatten)]
    place: Place,
    /// Seconds between two looks, from 0.1 to 3600; + and - change it
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    every: f64,
    /// Print pools, waits and holders once, as text, and end; so does a stdout that is no terminal
    #[arg(long)]
    once: bool,
}

/// What `top --help` says of keys.
const KEYS: &str = "\
Keys: 1 to 6 and Tab choose what is shown (pools, waits, holders, clients, servers, alerts and
advice); arrows, PgUp, PgDn, Home, End and jk move; Enter shows everything about a row, of a pool
its last minutes too; / filters, s sorts, p freezes, + and - change the interval, ? lists the keys,
q leaves. With --token-file: P and R pause and resume the database of a pool, K closes a client;
each asks first. NO_COLOR is respected.";

/// `headpond alerts`.
#[derive(clap::Args, Debug)]
pub struct Alerts {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Option<AlertsCommand>,
}

#[derive(clap::Subcommand, Debug)]
enum AlertsCommand {
    /// Send an alert that is none along every route
    Test,
    /// Keep an alert quiet for a while
    Silence {
        /// The rule; without it every rule
        #[arg(long, default_value = "")]
        rule: String,
        /// The pool or database; without it everything
        #[arg(long, default_value = "")]
        subject: String,
        /// For how many seconds
        #[arg(long, default_value_t = 3600.0)]
        seconds: f64,
        /// Why
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// End a silence
    Unsilence {
        /// Its number
        id: u64,
    },
}

/// `headpond advise`.
#[derive(clap::Args, Debug)]
pub struct Advise {
    #[command(flatten)]
    place: Place,
}

fn show(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::new(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// Asks for health; the exit code is the answer.
///
/// # Errors
/// There is no answer (which Docker takes for unhealthy: 1, and monitoring plugins for unknown: 3).
pub fn health(options: &Health) -> Result<ExitCode, Failure> {
    let path = match (options.live, options.ready) {
        (true, _) => "/livez?verbose",
        (_, true) => "/readyz?verbose",
        _ => "/health",
    };
    let asked = options.place.endpoint().and_then(|endpoint| endpoint.ask(Method::Get, path, None));
    let (_, value) = match asked {
        Ok(answer) => answer,
        Err(failure) if options.nagios => {
            println!("HEADPOND UNKNOWN - {}", failure.text());
            return Ok(ExitCode::from(3));
        }
        Err(failure) => return Err(failure),
    };
    let status = value["status"].as_str().unwrap_or("fail");
    let output = value["output"].as_str().unwrap_or_default();
    if options.place.json {
        show(&value)?;
    } else if options.nagios {
        let word = match status {
            "pass" => "OK",
            "warn" => "WARNING",
            _ => "CRITICAL",
        };
        println!("HEADPOND {word}{}{output}", if output.is_empty() { "" } else { " - " });
    } else {
        print::health(&value);
    }
    Ok(match (options.nagios, status) {
        (_, "pass") | (false, "warn") => ExitCode::SUCCESS,
        (true, "warn") | (false, _) => ExitCode::from(1),
        (true, _) => ExitCode::from(2),
    })
}

/// Shows the process, its pools, its databases, and PgBouncers where there are any.
///
/// # Errors
/// There is no answer.
pub fn status(options: &Status) -> Result<ExitCode, Failure> {
    let endpoint = options.place.endpoint()?;
    let mut status = endpoint.get("/api/v1/status")?;
    let mut pools = endpoint.get("/api/v1/pools")?;
    let mut databases = endpoint.get("/api/v1/databases")?;
    status["pools"] = pools["pools"].take();
    status["databases"] = databases["databases"].take();
    // A pooler of an older version has no such path.
    if let Ok(mut bouncers) = endpoint.get("/api/v1/bouncers") {
        status["bouncers"] = bouncers["bouncers"].take();
    }
    if options.place.json {
        show(&status)?;
    } else {
        print!("{}", print::status(&status));
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows alerts, tries their routes, or silences them.
///
/// # Errors
/// There is no answer, or the pooler refuses.
pub fn alerts(options: &Alerts) -> Result<ExitCode, Failure> {
    let endpoint = options.place.endpoint()?;
    let action = |word: &str, body: Value| endpoint.act(word, &body);
    let done = match &options.command {
        None => {
            let told = endpoint.get("/api/v1/alerts")?;
            if options.place.json {
                show(&told)?;
            } else {
                print!("{}", print::alerts(&told));
            }
            return Ok(ExitCode::SUCCESS);
        }
        Some(AlertsCommand::Test) => action("test-alert", json!({}))?,
        Some(AlertsCommand::Silence { rule, subject, seconds, comment }) => {
            let body = json!({
                "rule": rule, "subject": subject, "seconds": seconds, "comment": comment,
            });
            action("silence", body)?
        }
        Some(AlertsCommand::Unsilence { id }) => action("unsilence", json!({ "id": id }))?,
    };
    if options.place.json {
        show(&done)?;
    } else {
        match (&done["id"], &done["result"]) {
            (Value::Number(id), _) => println!("silence {id}"),
            (_, Value::String(text)) => println!("{text}"),
            _ => println!("done"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what to change and why.
///
/// # Errors
/// There is no answer.
pub fn advise(options: &Advise) -> Result<ExitCode, Failure> {
    let told = options.place.endpoint()?.get("/api/v1/advice")?;
    if options.place.json {
        show(&told)?;
    } else {
        print!("{}", print::advice(&told));
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the pooler live, on a whole terminal.
///
/// # Errors
/// There is no answer at the start, or the terminal is gone.
pub fn top(options: &Top) -> Result<ExitCode, Failure> {
    let endpoint = options.place.endpoint()?;
    if options.place.json {
        show(&endpoint.get("/api/v1/pools")?)?;
        return Ok(ExitCode::SUCCESS);
    }
    top::run(endpoint, options.every, options.once)
}
