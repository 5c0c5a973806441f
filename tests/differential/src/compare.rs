//! Runs the same calls on two machines and tells the first difference.

use anyhow::{Context, Result, bail};
use p2pnet_shared::kernel::exports;
use wasmparser::{ExternalKind, Parser, Payload, ValType};

use crate::machine::{Ended, Machine, Running, Value};

/// What a module exports, as far as it can be called or compared.
#[derive(Debug, Default)]
pub struct Exports {
    /// Name, parameters.
    pub functions: Vec<(String, Vec<ValType>)>,
    /// Names.
    pub globals: Vec<String>,
    /// Names.
    pub memories: Vec<String>,
    /// Whether there is a start function.
    pub starts: bool,
}

impl Exports {
    /// Reads them from a rewritten module.
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    pub fn of(rewritten: &[u8]) -> Result<Self> {
        let mut types = Vec::new();
        let mut functions = Vec::new();
        let mut found = Self::default();
        for payload in Parser::new(0).parse_all(rewritten) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        types.push(ty?);
                    }
                }
                Payload::FunctionSection(section) => {
                    for index in section {
                        functions.push(index? as usize);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let name = export.name.to_owned();
                        match export.kind {
                            ExternalKind::Func if name == exports::START => found.starts = true,
                            ExternalKind::Func => {
                                let ty = functions.get(export.index as usize).and_then(|index| types.get(*index));
                                found.functions.push((name, ty.context("no type")?.params().to_vec()));
                            }
                            ExternalKind::Global => found.globals.push(name),
                            ExternalKind::Memory => found.memories.push(name),
                            ExternalKind::Table | ExternalKind::Tag | ExternalKind::FuncExact => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// An instance on two machines.
pub struct Pair {
    exports: Exports,
    both: [(&'static str, Box<dyn Running>); 2],
}

/// What both machines gave for a call.
pub type Outcome = Result<Vec<Value>, Ended>;

impl Pair {
    /// Makes an instance on each machine and gives it gas and pages.
    pub fn start(machines: [&dyn Machine; 2], rewritten: &[u8], gas: i64, pages: i32) -> Result<Self> {
        Self::start_each(machines, [rewritten; 2], gas, pages)
    }

    /// The same with a form of the module for each machine; they export the same.
    pub fn start_each(machines: [&dyn Machine; 2], rewritten: [&[u8]; 2], gas: i64, pages: i32) -> Result<Self> {
        let start = |machine: &dyn Machine, rewritten: &[u8]| -> Result<_> {
            let mut running = machine.start(rewritten).with_context(|| format!("{} refuses", machine.name()))?;
            running.set(exports::GAS, Value::I64(gas))?;
            running.set(exports::PAGES, Value::I32(pages))?;
            Ok((machine.name(), running))
        };
        let [one, other] = machines;
        let [first, second] = rewritten;
        Ok(Self { exports: Exports::of(first)?, both: [start(one, first)?, start(other, second)?] })
    }

    /// What the module exports.
    pub fn exports(&self) -> &Exports {
        &self.exports
    }

    /// Gives both the same gas again.
    pub fn refuel(&mut self, gas: i64) -> Result<()> {
        self.both.iter_mut().try_for_each(|(_, running)| running.set(exports::GAS, Value::I64(gas)))
    }

    /// Calls a function on both and compares all that can be seen. An error is a difference.
    pub fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Outcome> {
        let [(one_name, one), (other_name, other)] = &mut self.both;
        let (first, second) = (one.call(name, arguments), other.call(name, arguments));
        if first != second {
            bail!("{name}({arguments:x?}): {one_name} gave {first:x?}, {other_name} {second:x?}");
        }
        if let Err(Ended::Host(text)) = &first {
            bail!("{name}({arguments:x?}): {text}");
        }
        self.same().with_context(|| format!("{name}({arguments:x?})"))?;
        Ok(first)
    }

    /// Compares globals and memories. An error is a difference.
    fn same(&mut self) -> Result<()> {
        let [(one_name, one), (other_name, other)] = &mut self.both;
        for global in &self.exports.globals {
            let (first, second) = (one.get(global), other.get(global));
            if first != second {
                bail!("{global} is {first:x?} on {one_name}, {second:x?} on {other_name}");
            }
        }
        for memory in &self.exports.memories {
            if one.memory(memory) != other.memory(memory) {
                bail!("memory differs");
            }
        }
        Ok(())
    }

    /// Has the second instance, of the form that can be set back, keep its state.
    pub fn save(&mut self) -> Result<()> {
        match self.both[1].1.call(exports::SAVE, &[]) {
            Ok(done) if done == [Value::I32(1)] => Ok(()),
            other => bail!("saving gave {other:x?}"),
        }
    }

    /// Sets the second instance back, and compares it with a fresh first one that has begun; `false` if its memory has grown,
    /// which cannot be taken back.
    pub fn set_back(&mut self, machine: &dyn Machine, rewritten: &[u8], gas: i64, pages: i32) -> Result<bool> {
        match self.both[1].1.call(exports::REWIND, &[]) {
            Ok(done) if done == [Value::I32(1)] => {}
            Ok(done) if done == [Value::I32(0)] => return Ok(false),
            other => bail!("setting back gave {other:x?}"),
        }
        let mut first = machine.start(rewritten)?;
        first.set(exports::GAS, Value::I64(gas))?;
        first.set(exports::PAGES, Value::I32(pages))?;
        if self.exports.starts {
            first.call(exports::START, &[]).map_err(|ended| anyhow::anyhow!("the start gave {ended:?}"))?;
        }
        let left = first.get(exports::GAS).context("no gas")?;
        self.both[0].1 = first;
        // The host's own to set.
        self.both[1].1.set(exports::GAS, left)?;
        self.same().context("after it was set back")?;
        Ok(true)
    }

    /// Calls the start function, if there is one.
    pub fn begin(&mut self) -> Result<Outcome> {
        if self.exports.starts { self.call(exports::START, &[]) } else { Ok(Ok(Vec::new())) }
    }
}
