//! The same program with a mark at the entry of each function, to learn which of them run.

use std::convert::Infallible;

use anyhow::{Result, anyhow};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, Instruction, MemArg, MemArgTarget, MemorySection, MemoryType,
    Module,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{ExportSectionReader, FunctionBody, MemorySectionReader, Parser};

use super::program::Program;

/// Under this name it exports a memory of its own with a byte for each function that has a body: 1 once it has run.
const MARKS: &str = "marks";

const PAGE_BYTES: u64 = 1 << 16;

/// The marked form of a program.
pub(crate) fn marked(bytes: &[u8]) -> Result<Vec<u8>> {
    let program = Program::read(bytes)?;
    let mut module = Module::new();
    let pages = (program.bodies.len() as u64).div_ceil(PAGE_BYTES);
    let mut marking = Marking { memory: u32::try_from(program.memories.len())?, pages, next: 0 };
    marking
        .parse_core_module(&mut module, Parser::new(0), bytes)
        .map_err(|error| anyhow!("the program cannot be marked: {error}"))?;
    Ok(module.finish())
}

struct Marking {
    memory: u32,
    pages: u64,
    /// The function that comes next.
    next: i32,
}

impl Reencode for Marking {
    type Error = Infallible;

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_memory_section(self, memories, section)?;
        let (minimum, maximum) = (self.pages, None);
        memories.memory(MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None });
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(MARKS, ExportKind::Memory, self.memory);
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let mut function: Function = self.new_function_with_parsed_locals(&body)?;
        let place = MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(self.memory), ordering: None };
        for instruction in [Instruction::I32Const(self.next), Instruction::I32Const(1), Instruction::I32Store8(place)] {
            function.instruction(&instruction);
        }
        self.next += 1;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            function.instruction(&self.parse_instruction(&mut reader)?);
        }
        code.function(&function);
        Ok(())
    }
}
