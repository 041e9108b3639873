//! The command line of the benchmark.

/// What `--help` says.
pub const HELP: &str = "\
usage: cargo xtask bench [options]

  --rounds N       rounds of each cell, poolers in turns (5)
  --seconds N      seconds of each run (4)
  --cells A,B      only cells whose name contains one of these words
  --engines A,B    engines of Headpond (epoll,io_uring)
  --workers N      workers of Headpond (its default)
  --without X      leave Headpond or PgBouncer out: to try the bench itself
  --quick          2 rounds of 2 s and fewer idle clients
  --write          write docs/benchmarks.md although not all cells were measured

environment:
  HEADPOND_BENCH_PGBOUNCER   a newer pgbouncer to compare with as well
  HEADPOND_BENCH_PROGRAM     another headpond than target/release/headpond
";

/// What to measure, and for how long.
#[derive(Debug)]
pub struct Options {
    /// Rounds of each cell.
    pub rounds: u32,
    /// Seconds of each run.
    pub seconds: u32,
    /// Less of everything.
    pub quick: bool,
    /// Worker threads of Headpond, if not its default.
    pub workers: Option<u32>,
    /// Engines of Headpond.
    pub engines: Vec<String>,
    /// Programs to leave out.
    pub without: Vec<String>,
    cells: Vec<String>,
    write: bool,
}

impl Options {
    /// Reads the options; none if help was asked for.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self {
            rounds: 5,
            seconds: 4,
            quick: false,
            workers: None,
            engines: vec!["epoll".to_owned(), "io_uring".to_owned()],
            without: Vec::new(),
            cells: Vec::new(),
            write: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => options.rounds = number(word, value()?)?,
                "--seconds" => options.seconds = number(word, value()?)?,
                "--workers" => options.workers = Some(number(word, value()?)?),
                "--cells" => options.cells = list(value()?),
                "--engines" => options.engines = list(value()?),
                "--without" => options.without = list(&value()?.to_lowercase()),
                "--write" => options.write = true,
                "--quick" => {
                    options.quick = true;
                    options.rounds = 2;
                    options.seconds = 2;
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown option {word}\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }

    /// Says whether a cell is to be measured.
    pub fn wants(&self, key: &str) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|word| key.contains(word.as_str()))
    }

    /// Says whether the documentation gets this run: a part of the table would pass for the whole.
    pub fn writes(&self) -> bool {
        self.write || (self.cells.is_empty() && self.without.is_empty() && !self.quick)
    }
}

fn number(word: &str, value: &str) -> Result<u32, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{word}: {value} is not a number above 0"))
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}
