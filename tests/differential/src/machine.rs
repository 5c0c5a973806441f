//! One face for wasmi and wasmtime that can run any module, not only kernels: values by their bits, traps by their
//! reason, memory by its bytes.

use anyhow::{Context, Result, anyhow};
use p2pnet_native::engine::{WasmtimeEngine, with_room};
use p2pnet_shared::{
    engine::WasmiEngine,
    kernel::{TrapReason, exports},
};

use crate::compare::Exports;

/// A value by its bits. A reference to a function only says whether there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `i32`
    I32(i32),
    /// `i64`
    I64(i64),
    /// `f32`
    F32(u32),
    /// `f64`
    F64(u64),
    /// `v128`
    V128(u128),
    /// `funcref`
    Function(bool),
}

/// How a call ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A trap, with the rewrite's reason.
    Trap(i32),
    /// Something that no kernel can be held to: always a bug here.
    Host(String),
}

/// What can run rewritten modules.
pub trait Machine {
    /// For messages.
    fn name(&self) -> &'static str;
    /// Makes an instance.
    fn start(&self, rewritten: &[u8]) -> Result<Box<dyn Running>>;
}

/// An instance.
pub trait Running {
    /// Sets an exported global.
    fn set(&mut self, name: &str, value: Value) -> Result<()>;
    /// Reads an exported global; `None` if it is no value that can be compared.
    fn get(&mut self, name: &str) -> Option<Value>;
    /// Calls an exported function.
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Ended>;
    /// The bytes of an exported memory.
    fn memory(&mut self, name: &str) -> Option<&[u8]>;
}

/// The referee.
pub struct Wasmi(pub wasmi::Engine);

/// The native compiler.
pub struct Wasmtime {
    pooled: wasmtime::Engine,
    /// For instances that are set back.
    lasting: wasmtime::Engine,
}

impl Wasmi {
    /// Set up as nodes have it.
    pub fn new() -> Self {
        Self(WasmiEngine::new().interpreter().clone())
    }
}

impl Default for Wasmi {
    fn default() -> Self {
        Self::new()
    }
}

impl Wasmtime {
    /// Set up as nodes have it.
    pub fn new() -> Result<Self> {
        let engine = WasmtimeEngine::new(None).map_err(|error| anyhow!("no wasmtime here: {error}"))?;
        Ok(Self { pooled: engine.compiler().clone(), lasting: engine.lasting_compiler().clone() })
    }
}

struct OnWasmi {
    store: wasmi::Store<()>,
    instance: wasmi::Instance,
}

impl Machine for Wasmi {
    fn name(&self) -> &'static str {
        "wasmi"
    }

    fn start(&self, rewritten: &[u8]) -> Result<Box<dyn Running>> {
        let module = wasmi::Module::new(&self.0, rewritten).map_err(|error| anyhow!("{error}"))?;
        let mut store = wasmi::Store::new(&self.0, ());
        let instance = wasmi::Linker::new(&self.0)
            .instantiate_and_start(&mut store, &module)
            .map_err(|error| anyhow!("{error}"))?;
        Ok(Box::new(OnWasmi { store, instance }))
    }
}

impl Running for OnWasmi {
    fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let global = self.instance.get_global(&self.store, name).context("no such global")?;
        global.set(&mut self.store, to_wasmi(value)).map_err(|error| anyhow!("{error}"))
    }

    fn get(&mut self, name: &str) -> Option<Value> {
        let global = self.instance.get_global(&self.store, name)?;
        from_wasmi(&global.get(&self.store))
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Ended> {
        let host = |text: String| Ended::Host(text);
        let function = self.instance.get_func(&self.store, name).ok_or_else(|| host("no such function".into()))?;
        let ty = function.ty(&self.store);
        let arguments: Vec<wasmi::Val> = arguments.iter().map(|value| to_wasmi(*value)).collect();
        let mut results: Vec<wasmi::Val> = ty.results().iter().map(|ty| wasmi::Val::default_for_ty(*ty)).collect();
        match function.call(&mut self.store, &arguments, &mut results) {
            Ok(()) => Ok(results.iter().filter_map(from_wasmi).collect()),
            Err(error) => match error.as_trap_code() {
                None | Some(wasmi::TrapCode::StackOverflow | wasmi::TrapCode::OutOfSystemMemory) => {
                    Err(host(error.to_string()))
                }
                Some(_) => Err(trapped(self.get(exports::TRAP))),
            },
        }
    }

    fn memory(&mut self, name: &str) -> Option<&[u8]> {
        Some(self.instance.get_memory(&self.store, name)?.data(&self.store))
    }
}

struct OnWasmtime {
    store: wasmtime::Store<()>,
    instance: wasmtime::Instance,
}

impl Machine for Wasmtime {
    fn name(&self) -> &'static str {
        "wasmtime"
    }

    fn start(&self, rewritten: &[u8]) -> Result<Box<dyn Running>> {
        let can_be_set_back = Exports::of(rewritten)?.functions.iter().any(|(name, _)| name == exports::REWIND);
        let engine = if can_be_set_back { &self.lasting } else { &self.pooled };
        let module = wasmtime::Module::new(engine, rewritten).map_err(|error| anyhow!("{error:?}"))?;
        let mut store = wasmtime::Store::new(engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).map_err(|error| anyhow!("{error:?}"))?;
        Ok(Box::new(OnWasmtime { store, instance }))
    }
}

impl Running for OnWasmtime {
    fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let global = self.instance.get_global(&mut self.store, name).context("no such global")?;
        global.set(&mut self.store, to_wasmtime(value)).map_err(|error| anyhow!("{error}"))
    }

    fn get(&mut self, name: &str) -> Option<Value> {
        let global = self.instance.get_global(&mut self.store, name)?;
        from_wasmtime(&global.get(&mut self.store))
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Ended> {
        let host = |text: String| Ended::Host(text);
        let function = self.instance.get_func(&mut self.store, name).ok_or_else(|| host("no such function".into()))?;
        let arguments: Vec<wasmtime::Val> = arguments.iter().map(|value| to_wasmtime(*value)).collect();
        let mut results = vec![wasmtime::Val::I32(0); function.ty(&self.store).results().len()];
        let called = with_room(|| function.call(&mut self.store, &arguments, &mut results));
        match called.map_err(|error| host(error.to_string()))? {
            Ok(()) => Ok(results.iter().filter_map(from_wasmtime).collect()),
            Err(error) => match error.downcast_ref::<wasmtime::Trap>() {
                None | Some(wasmtime::Trap::StackOverflow) => Err(host(format!("{error:?}"))),
                Some(_) => Err(trapped(self.get(exports::TRAP))),
            },
        }
    }

    fn memory(&mut self, name: &str) -> Option<&[u8]> {
        Some(self.instance.get_memory(&mut self.store, name)?.data(&self.store))
    }
}

fn trapped(reason: Option<Value>) -> Ended {
    match reason {
        Some(Value::I32(code)) => Ended::Trap(code),
        _ => Ended::Trap(TrapReason::Own.code()),
    }
}

fn to_wasmi(value: Value) -> wasmi::Val {
    match value {
        Value::I32(value) => wasmi::Val::I32(value),
        Value::I64(value) => wasmi::Val::I64(value),
        Value::F32(bits) => wasmi::Val::F32(wasmi::F32::from_bits(bits)),
        Value::F64(bits) => wasmi::Val::F64(wasmi::F64::from_bits(bits)),
        Value::V128(bits) => wasmi::Val::V128(wasmi::V128::from(bits)),
        Value::Function(_) => wasmi::Val::default_for_ty(wasmi::ValType::FuncRef),
    }
}

fn from_wasmi(value: &wasmi::Val) -> Option<Value> {
    Some(match value {
        wasmi::Val::I32(value) => Value::I32(*value),
        wasmi::Val::I64(value) => Value::I64(*value),
        wasmi::Val::F32(value) => Value::F32(value.to_bits()),
        wasmi::Val::F64(value) => Value::F64(value.to_bits()),
        wasmi::Val::V128(value) => Value::V128(value.as_u128()),
        wasmi::Val::FuncRef(value) => Value::Function(!value.is_null()),
        wasmi::Val::ExternRef(_) => return None,
    })
}

fn to_wasmtime(value: Value) -> wasmtime::Val {
    match value {
        Value::I32(value) => wasmtime::Val::I32(value),
        Value::I64(value) => wasmtime::Val::I64(value),
        Value::F32(bits) => wasmtime::Val::F32(bits),
        Value::F64(bits) => wasmtime::Val::F64(bits),
        Value::V128(bits) => wasmtime::Val::V128(bits.into()),
        Value::Function(_) => wasmtime::Val::FuncRef(None),
    }
}

fn from_wasmtime(value: &wasmtime::Val) -> Option<Value> {
    Some(match value {
        wasmtime::Val::I32(value) => Value::I32(*value),
        wasmtime::Val::I64(value) => Value::I64(*value),
        wasmtime::Val::F32(bits) => Value::F32(*bits),
        wasmtime::Val::F64(bits) => Value::F64(*bits),
        wasmtime::Val::V128(value) => Value::V128(value.as_u128()),
        wasmtime::Val::FuncRef(function) => Value::Function(function.is_some()),
        wasmtime::Val::ExternRef(_)
        | wasmtime::Val::AnyRef(_)
        | wasmtime::Val::ExnRef(_)
        | wasmtime::Val::ContRef(_) => return None,
    })
}
