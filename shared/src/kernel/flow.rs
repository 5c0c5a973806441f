//! Follows control through a body: which instructions can never run, and where a straight run of instructions begins.
//!
//! Both passes over a body (measuring, then writing) step the same [`Walker`], so they agree on the runs.

use wasmparser::Operator;

use super::{bounds::MOST_NESTING, cost};

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunStart {
    /// At the head of a loop: gas is checked.
    LoopHead,
    /// Where paths part or meet.
    Plain,
    /// Behind a conditional branch: may be paid with the run before.
    BehindBranch,
}

/// What [`Walker::step`] says of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// It can never run and can be left out.
    pub dead: bool,
    /// A run begins right behind it.
    pub starts: Option<RunStart>,
    /// It is the `end` of the function.
    pub last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Block,
    Loop,
    If,
    Else,
}

struct Frame {
    kind: Kind,
    /// Some live branch goes to its label.
    targeted: bool,
}

/// Nesting beyond [`MOST_NESTING`].
#[derive(Debug)]
pub(super) struct TooDeep;

/// The control stack of a body that is known to be valid.
pub(super) struct Walker {
    frames: Vec<Frame>,
    /// Control cannot be here; the number counts constructs opened since.
    dead: Option<usize>,
}

impl Walker {
    /// At the start of a function.
    pub(super) fn new() -> Self {
        Self { frames: vec![Frame { kind: Kind::Function, targeted: false }], dead: None }
    }

    /// Index of the label of the whole function, seen from here.
    pub(super) fn function_label(&self) -> u32 {
        u32::try_from(self.frames.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Takes the next instruction.
    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    pub(super) fn step(&mut self, operator: &Operator<'_>) -> Result<Step, TooDeep> {
        if let Some(opened) = self.dead {
            return self.step_dead(operator, opened);
        }
        let mut step = Step { dead: false, starts: None, last: false };
        match operator {
            Operator::Block { .. } => self.open(Kind::Block)?,
            Operator::Loop { .. } => {
                self.open(Kind::Loop)?;
                step.starts = Some(RunStart::LoopHead);
            }
            Operator::If { .. } => {
                self.open(Kind::If)?;
                step.starts = Some(RunStart::Plain);
            }
            Operator::Else => step.starts = self.turn(),
            Operator::End => self.close(&mut step, true),
            Operator::BrIf { relative_depth } => {
                self.target(*relative_depth);
                step.starts = Some(RunStart::BehindBranch);
            }
            Operator::Br { relative_depth } => {
                self.target(*relative_depth);
                self.dead = Some(0);
            }
            Operator::BrTable { targets } => {
                self.target(targets.default());
                for depth in targets.targets().flatten() {
                    self.target(depth);
                }
                self.dead = Some(0);
            }
            Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::Unreachable => self.dead = Some(0),
            _ => {}
        }
        Ok(step)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn step_dead(&mut self, operator: &Operator<'_>, opened: usize) -> Result<Step, TooDeep> {
        let mut step = Step { dead: true, starts: None, last: false };
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                if self.frames.len() + opened >= MOST_NESTING {
                    return Err(TooDeep);
                }
                self.dead = Some(opened + 1);
            }
            Operator::End if opened > 0 => self.dead = Some(opened - 1),
            Operator::End => {
                self.dead = None;
                step.dead = false;
                self.close(&mut step, false);
            }
            Operator::Else if opened == 0 => {
                self.dead = None;
                step.dead = false;
                step.starts = self.turn();
            }
            _ => {}
        }
        Ok(step)
    }

    fn open(&mut self, kind: Kind) -> Result<(), TooDeep> {
        if self.frames.len() >= MOST_NESTING {
            return Err(TooDeep);
        }
        self.frames.push(Frame { kind, targeted: false });
        Ok(())
    }

    fn turn(&mut self) -> Option<RunStart> {
        if let Some(frame) = self.frames.last_mut() {
            frame.kind = Kind::Else;
        }
        Some(RunStart::Plain)
    }

    fn close(&mut self, step: &mut Step, live: bool) {
        let Some(frame) = self.frames.pop() else { return };
        let continues = match frame.kind {
            Kind::Function => {
                step.last = true;
                return;
            }
            Kind::Block => live && !frame.targeted,
            Kind::Loop | Kind::If | Kind::Else => false,
        };
        if !continues {
            step.starts = Some(RunStart::Plain);
        }
    }

    fn target(&mut self, depth: u32) {
        let index = self.frames.len().checked_sub(depth as usize + 1);
        if let Some(frame) = index.and_then(|index| self.frames.get_mut(index)) {
            frame.targeted = true;
        }
    }
}

/// Sums costs into one charge a run.
pub(super) struct Runs {
    charges: Vec<u64>,
    /// The run that pays now, and what runs behind branches have added to it.
    payer: usize,
    added: u64,
    /// A run behind a branch that may still turn out short.
    short: Option<u64>,
}

impl Runs {
    /// The first run: the function's entry.
    pub(super) fn new() -> Self {
        Self { charges: vec![cost::ENTRY], payer: 0, added: 0, short: None }
    }

    /// Adds an instruction to the current run.
    pub(super) fn spend(&mut self, cost: u64) {
        match &mut self.short {
            Some(sum) => *sum += cost,
            None => self.charges[self.payer] += cost,
        }
    }

    /// Begins the next run.
    pub(super) fn start(&mut self, how: RunStart) {
        self.settle();
        self.charges.push(0);
        match how {
            RunStart::BehindBranch => self.short = Some(0),
            RunStart::Plain | RunStart::LoopHead => {
                self.payer = self.charges.len() - 1;
                self.added = 0;
                if how == RunStart::LoopHead {
                    self.charges[self.payer] = cost::LOOP;
                }
            }
        }
    }

    /// One charge a run, in order; zero where the run before has paid.
    pub(super) fn finish(mut self) -> Vec<u64> {
        self.settle();
        self.charges
    }

    fn settle(&mut self) {
        let Some(sum) = self.short.take() else { return };
        if self.added + sum <= cost::SHORT_RUN {
            self.added += sum;
            self.charges[self.payer] += sum;
        } else {
            self.payer = self.charges.len() - 1;
            self.added = 0;
            self.charges[self.payer] = sum;
        }
    }
}
