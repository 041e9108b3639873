//! One client and one server, and nothing in between but the relay.
//!
//! Invariant: every step makes progress and stays within its input.
//! Not here: switching servers (`world.rs`).

use std::format;
use std::string::String;
use std::vec::Vec;

use super::world::{Chance, DEFAULTS, Statements};
use crate::backend::Status;
use crate::session::{
    ClientState, Context, Linked, Parameters, ServerState, Settings, Staged, Step, Tracked,
    from_client, from_server, link, part,
};

/// How input is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Whole,
    Bytes(usize),
    Chance(u64),
}

/// One client and one server, with nothing happening at the same time.
pub struct Pair {
    pub c: ClientState,
    pub s: ServerState,
    pub linked: bool,
    pub statements: Statements,
    pub settings: Settings,
    held: [Vec<u8>; 2],
    /// All that went to the server, and to the client.
    pub out: [Vec<u8>; 2],
    chance: Chance,
    /// What the relay said, call by call.
    pub steps: Vec<Step>,
    pub broken: Option<String>,
}

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

impl Pair {
    pub fn new(settings: Settings, seed: u64) -> Self {
        let tracked = Tracked::standard();
        let pairs = || DEFAULTS.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        Self {
            c: ClientState::new(Parameters::new(&tracked, pairs())),
            s: ServerState::new(&tracked, pairs(), Status::Idle),
            linked: false,
            statements: Statements::default(),
            settings,
            held: [Vec::new(), Vec::new()],
            out: [Vec::new(), Vec::new()],
            chance: Chance::new(seed),
            steps: Vec::new(),
            broken: None,
        }
    }

    pub fn feed(&mut self, side: usize, mut bytes: &[u8], cut: Cut) {
        while !bytes.is_empty() && self.broken.is_none() {
            let n = match cut {
                Cut::Whole => bytes.len(),
                Cut::Bytes(n) => n.min(bytes.len()),
                Cut::Chance(_) => 1 + self.chance.below(bytes.len()),
            };
            self.held[side].extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.pump(side);
        }
    }

    pub fn pump(&mut self, side: usize) {
        let mut staged = Staged::default();
        for _ in 0..1_000_000 {
            if self.held[side].is_empty() {
                return;
            }
            let mut cx = Context {
                settings: &self.settings,
                statements: &self.statements,
                staged: &mut staged,
            };
            let input = &self.held[side];
            let step = if side == CLIENT {
                let s = self.linked.then_some(&mut self.s);
                from_client(&mut self.c, s, input, &mut cx)
            } else {
                let c = self.linked.then_some(&mut self.c);
                from_server(&mut self.s, c, input, &mut cx)
            };
            self.out[0].append(&mut cx.staged.to_server);
            self.out[1].append(&mut cx.staged.to_client);
            self.steps.extend(step);
            match step {
                Ok(Step::Forward(n)) => {
                    assert!(n > 0 && n <= input.len(), "forwards {n} of {}", input.len());
                    let bytes: Vec<u8> = self.held[side].drain(..n).collect();
                    self.out[side].extend(bytes);
                }
                Ok(Step::Swallow(n)) => {
                    assert!(n > 0 && n <= input.len(), "swallows {n} of {}", input.len());
                    self.held[side].drain(..n);
                }
                Ok(Step::NeedInput(n)) => {
                    assert!(n > input.len(), "needs {n} of {}", input.len());
                    return;
                }
                Ok(Step::NeedServer) => {
                    let linked = link(&mut self.c, &mut self.s, &mut cx);
                    self.linked = true;
                    if linked == Linked::Settling {
                        self.out[0].append(&mut cx.staged.to_server);
                        return;
                    }
                }
                Ok(Step::Full) => return,
                Ok(Step::End) => {
                    self.broken = Some("end".into());
                    return;
                }
                Err(violation) => {
                    self.broken = Some(format!("{violation}"));
                    return;
                }
            }
        }
        panic!("no progress");
    }

    pub fn rest(&mut self) {
        if self.linked && self.s.is_settled() && self.s.status() == Status::Idle {
            part(&mut self.c, &mut self.s);
            self.linked = false;
        }
    }
}
