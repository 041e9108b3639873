//! `headpond dev`: a private PostgreSQL with the pooler in front of it, for one developer.
//!
//! Invariant: whatever was started here is stopped here, the pooler first, however `dev` ends.
//! Not here: pooling. The pooler is a child that runs `headpond serve`, as in production.

mod demo;
mod postgres;
mod status;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::notify::Readiness;
use postgres::{Home, NAME, Postgres};

/// How long a drain may take before the pooler is told to stop at once.
const DRAIN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);

/// What `headpond dev` can be told.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Empty the private PostgreSQL first
    #[arg(long)]
    fresh: bool,
    /// Port of the pooler on 127.0.0.1
    #[arg(long, default_value_t = 6432)]
    port: u16,
    /// Port of the HTTP endpoint on 127.0.0.1
    #[arg(long, default_value_t = 6433)]
    http_port: u16,
    /// Put a gentle load on it, so that the page has something to show
    #[arg(long)]
    demo: bool,
    /// Where the private PostgreSQL keeps its data [default: $XDG_DATA_HOME/headpond/dev]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// Runs until Ctrl-C, or until something that it started ends by itself.
///
/// # Errors
/// What is missing, taken or broken, and what to do about it.
pub fn run(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Failure::new(format!("no event loop: {e}")))?.block_on(develop(options))
}

async fn develop(options: &Options) -> Result<(), Failure> {
    for port in [options.port, options.http_port] {
        is_free(port)?;
    }
    let folder = tempfile::Builder::new().prefix("headpond-").tempdir();
    let folder = folder.map_err(|e| Failure::new(format!("no temporary folder: {e}")))?;
    // PostgreSQL, under another account, passes through on the way to its socket.
    let pass = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(folder.path(), pass).map_err(|e| Failure::path(folder.path(), e))?;
    let mut interrupt = Interrupt::new()?;
    let url = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let postgres = match url {
        Some(_) => None,
        None => {
            let home = Home::new(options.data.clone().map_or_else(data_folder, Ok)?);
            let sockets = folder.path().join("postgres");
            Some((postgres::start(&home, &sockets, options.fresh)?, home))
        }
    };
    let outcome = with_pooler(options, folder.path(), postgres.as_ref(), &mut interrupt).await;
    if let Some((postgres, _)) = postgres {
        postgres.stop().await;
    }
    outcome
}

/// Starts the pooler, shows what goes on, and stops it.
async fn with_pooler(
    options: &Options,
    folder: &Path,
    postgres: Option<&(Postgres, Home)>,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    if options.demo && postgres.is_none() {
        return Err(Failure::new(
            "--demo: only with the private PostgreSQL, not with DATABASE_URL",
        ));
    }
    let word = postgres::random_word();
    let token = word.map_err(|e| Failure::new(format!("no random bytes: {e}")))?;
    let readiness = Readiness::new(folder).map_err(|e| Failure::path(folder, e))?;
    let source = match postgres {
        Some((postgres, _)) => Some(settings(options, folder, postgres)?),
        None => None,
    };
    let mut pooler = spawn(options, &readiness, source.as_deref(), &token)?;
    let log = pooler.stderr.take().map(|pipe| tokio::spawn(show_log(pipe)));
    let outcome = tokio::select! {
        ready = readiness.ready() => match ready {
            Ok(()) => {
                print!("{}", greeting(options, postgres, &token));
                // Held, not used: it ends with this block.
                let _load = match postgres.filter(|_| options.demo) {
                    Some((postgres, _)) => demo::start(folder, postgres, options.port)?,
                    None => Vec::new(),
                };
                watch(options, &mut pooler, postgres, interrupt).await
            }
            Err(error) => Err(Failure::path(readiness.path(), error)),
        },
        ended = pooler.wait() => Err(ended_by_itself(ended)),
        () = interrupt.next() => Ok(()),
    };
    drain(&mut pooler, interrupt).await;
    if let Some(log) = log {
        // It ends with the pooler; that it was cut short is nothing to tell.
        let _ = log.await;
    }
    outcome
}

fn ended_by_itself(ended: io::Result<ExitStatus>) -> Failure {
    Failure::new(match ended {
        Ok(status) => format!("the pooler ended by itself: {status}"),
        Err(error) => format!("the pooler: {error}"),
    })
}

/// Shows the status line until somebody or something ends the session.
async fn watch(
    options: &Options,
    pooler: &mut Child,
    postgres: Option<&(Postgres, Home)>,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let live = io::stdout().is_terminal();
    let mut status = status::Status::new(options.http_port);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = interrupt.next() => {
                if live {
                    // Over the `^C` that the terminal wrote.
                    print!("\r\x1b[K");
                }
                println!("draining; once more to stop at once");
                return Ok(());
            }
            ended = pooler.wait() => return Err(ended_by_itself(ended)),
            _ = tick.tick() => {
                if let Some((postgres, home)) = postgres && postgres.is_gone() {
                    let log = home.log();
                    return Err(Failure::new(format!("PostgreSQL ended; see {}", log.display())));
                }
                if live && let Some(line) = status.line().await {
                    print!("\r\x1b[K{line}");
                    // A terminal that went away is told by its hang-up, not here.
                    let _ = io::stdout().flush();
                }
            }
        }
    }
}

/// Shows the pooler's log line by line, each over the status line, which comes again.
async fn show_log(pipe: ChildStderr) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("\r\x1b[K{line}");
    }
}

/// Lets transactions under way end, then stops the pooler; a second Ctrl-C does not wait.
async fn drain(pooler: &mut Child, interrupt: &mut Interrupt) {
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        let Some(pid) = pooler.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
        // The only error is that it is gone already, and waiting says so too.
        let _ = kill_process(pid, signal);
        tokio::select! {
            _ = pooler.wait() => return,
            () = tokio::time::sleep(DRAIN) => {}
            () = interrupt.next() => {}
        }
    }
}

fn spawn(
    options: &Options,
    readiness: &Readiness,
    source: Option<&Path>,
    token: &str,
) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::new(format!("own program: {e}")))?;
    let mut command = Command::new(&program);
    command.args(["serve", "--with-parent"]);
    match (source, std::env::var_os("DATABASE_URL")) {
        (Some(file), _) => drop(command.arg(file)),
        // Not as an argument: everybody may read those, and a URL may hold a password.
        (None, Some(url)) => drop(command.env_remove("HEADPOND_CONFIG").env("HEADPOND_URL", url)),
        (None, None) => {}
    }
    command.env("NOTIFY_SOCKET", readiness.path());
    command.env("HEADPOND_HTTP__LISTEN", format!("127.0.0.1:{}", options.http_port));
    command.env("HEADPOND_HTTP__TOKEN", token);
    command.env("HEADPOND_LISTEN_ADDR", "127.0.0.1");
    command.env("HEADPOND_LISTEN_PORT", options.port.to_string());
    // Ctrl-C in the terminal is ours to answer: the pooler drains when it is told to.
    command.process_group(0).kill_on_drop(true);
    if io::stdout().is_terminal() {
        // Its log lines must not end up in the middle of the status line.
        command.stderr(Stdio::piped());
    }
    command.spawn().map_err(|e| Failure::path(&program, e))
}

/// Writes the pooler's settings into the temporary folder and returns their file.
fn settings(options: &Options, folder: &Path, postgres: &Postgres) -> Result<PathBuf, Failure> {
    let sockets = postgres.sockets.display();
    let Postgres { port: server, password, .. } = postgres;
    let port = options.port;
    let users = folder.join("userlist.txt");
    let text = format!(
        "[databases]\n\
         * = host={sockets} port={server}\n\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = {}\n\
         admin_users = {NAME}\n\
         pool_mode = transaction\n\
         default_pool_size = 20\n\
         max_client_conn = 1000\n\
         log_connections = 0\n\
         log_disconnections = 0\n",
        users.display()
    );
    let file = folder.join("pgbouncer.ini");
    for (path, text) in [(&users, format!("\"{NAME}\" \"{password}\"\n")), (&file, text)] {
        std::fs::write(path, text).map_err(|e| Failure::path(path, e))?;
        let secret = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, secret).map_err(|e| Failure::path(path, e))?;
    }
    Ok(file)
}

fn greeting(options: &Options, postgres: Option<&(Postgres, Home)>, token: &str) -> String {
    let Options { port, http_port, .. } = options;
    let (url, console) = match postgres {
        Some((postgres, _)) => {
            let url = format!("postgres://{NAME}:{}@127.0.0.1:{port}", postgres.password);
            (format!("{url}/{NAME}"), format!("{url}/pgbouncer"))
        }
        None => {
            let url = format!("postgres://127.0.0.1:{port}");
            (format!("{url}/{}", own_database()), format!("{url}/pgbouncer"))
        }
    };
    let behind = match postgres {
        Some((postgres, home)) => {
            format!("PostgreSQL on port {}, data in {}", postgres.port, home.data().display())
        }
        None => "the server of DATABASE_URL".to_owned(),
    };
    format!(
        "\nheadpond is ready in front of {behind}\n\n  \
         connect   {url}\n  \
         psql      psql {url}\n  \
         console   psql {console} -c 'SHOW POOLS'\n  \
         metrics   http://127.0.0.1:{http_port}/metrics\n  \
         page      http://127.0.0.1:{http_port}/\n  \
         token     {token} (for the page's actions)\n\n\
         Ctrl-C drains and stops everything.\n"
    )
}

/// The database that DATABASE_URL names, as far as it names one.
fn own_database() -> String {
    let url = std::env::var("DATABASE_URL").unwrap_or_default();
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
    path.split('?').next().unwrap_or_default().to_owned()
}

fn is_free(port: u16) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Failure::new(format!(
            "{address} is taken, perhaps by another `headpond dev` or a PgBouncer; who it is: \
             ss -ltnp 'sport = :{port}'; other ports: --port and --http-port"
        ))),
        Err(error) => Err(Failure::new(format!("{address}: {error}"))),
    }
}

/// Where data lies that is kept between runs.
fn data_folder() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os("XDG_DATA_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder).join("headpond/dev"));
    }
    if rustix::process::geteuid().is_root() {
        // The account that PostgreSQL runs under cannot enter root's home.
        return Ok(PathBuf::from("/var/lib/headpond/dev"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| Failure::new("HOME is not set; say where: --data FOLDER"))?;
    Ok(PathBuf::from(home).join(".local/share/headpond/dev"))
}

/// Ctrl-C, or what a service manager or a closed terminal sends instead.
struct Interrupt([tokio::signal::unix::Signal; 3]);

impl Interrupt {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::new(format!("signals: {e}")));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
