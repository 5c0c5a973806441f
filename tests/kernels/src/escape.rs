//! Modules that try to get out, or to make whoever looks at them pay: each is to be refused by its code, in time and
//! memory that its length bounds.

use wasm_encoder::{
    CodeSection, Component, ComponentSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements,
    EntityType, ExportKind, ExportSection, FieldType, Function, FunctionSection, GlobalType, HeapType, ImportSection,
    InstructionSink, MemorySection, MemoryType, Module, ModuleSection, RefType, SectionId, StorageType, TableSection,
    TableType, TypeSection, ValType,
};

/// One module that must be refused.
pub struct Attempt {
    /// What it tries, for messages.
    pub name: &'static str,
    /// The module.
    pub module: Vec<u8>,
    /// The codes by which a kernel like this may be refused, as the API writes them. Who looks at the contract first may
    /// also say `invalid_kernel`.
    pub codes: &'static [&'static str],
}

const IMPORTS: &[&str] = &["kernel_imports"];
const INVALID: &[&str] = &["invalid_kernel"];
const LARGE: &[&str] = &["too_large"];
/// Refused either as malformed or as too large; which of both depends on what is read first.
const EITHER: &[&str] = &["invalid_kernel", "too_large"];

/// All of them.
pub fn attempts() -> Vec<Attempt> {
    let attempt = |name, module, codes| Attempt { name, module, codes };
    vec![
        attempt("a function from outside", importing("env", "system", function_type()), IMPORTS),
        attempt("a function of JavaScript's", importing("./page.js", "__wbg_eval", function_type()), IMPORTS),
        attempt("memory from outside", importing("env", "memory", EntityType::Memory(pages(1))), IMPORTS),
        attempt("a table from outside", importing("env", "table", EntityType::Table(table(1))), IMPORTS),
        attempt("a global from outside", importing("env", "secret", global_type()), IMPORTS),
        attempt("a million imports", many_imports(1_000_000), IMPORTS),
        attempt("a table of four billion elements", tables(1, u32::MAX.into()), LARGE),
        attempt("a million tables", tables(1_000_000, 1), LARGE),
        attempt("eight tables of a million elements", tables(8, 1_000_000), LARGE),
        attempt("a million element segments", many_elements(1_000_000), LARGE),
        attempt("functions of a thousand parameters", wide_type(1_000, 0), LARGE),
        attempt("functions of a thousand results", wide_type(0, 1_000), LARGE),
        attempt("five million types", many_types(5_000_000), LARGE),
        attempt("five million types in a group", one_group(5_000_000), INVALID),
        attempt("structures that double 64 times", doubling_structures(64), INVALID),
        attempt("types of a component that double 64 times", doubling_component(64), INVALID),
        attempt("components 64 deep", nested_components(64), INVALID),
        attempt("components 10,000 deep", nested_components(10_000), INVALID),
        attempt("a module in a component", module_in_component(), INVALID),
        attempt("blocks 500,000 deep", nested_blocks(500_000, false), EITHER),
        attempt("blocks 1,000,000 deep", nested_blocks(1_000_000, false), EITHER),
        attempt("blocks 500,000 deep behind the end", nested_blocks(500_000, true), EITHER),
        attempt("a branch to 400,000 labels", branch(400_000), LARGE),
        attempt("500,000 blocks that never end", unended_blocks(500_000), EITHER),
        attempt("four billion locals", claimed_locals(u32::MAX), EITHER),
        attempt("50,000 locals in each of 1,000 functions", many_locals(1_000, 50_000), EITHER),
        attempt("data at 2 GiB", data(17, 1 << 31, b"x"), INVALID),
        attempt("data that ends behind 4 GiB", data(65_536, u32::MAX, b"two"), INVALID),
        attempt("data that says it has 2 GiB", claimed_section(SectionId::Data, &[1, 1], 1 << 31), EITHER),
        attempt("four billion data segments", claimed_items(SectionId::Data, u32::MAX), LARGE),
        attempt("four billion data segments, announced", data_count(u32::MAX), LARGE),
        attempt("a body that says it has 2 GiB", claimed_section(SectionId::Code, &[1], 1 << 31), EITHER),
        attempt("four billion bodies", claimed_items(SectionId::Code, u32::MAX), EITHER),
        attempt("a name of 2 GiB", claimed_section(SectionId::Export, &[1], 1 << 31), EITHER),
        attempt("a section of 4 GiB", claimed_length(SectionId::Custom, u32::MAX), EITHER),
        attempt("a memory of 64 bits", memory(MemoryType { memory64: true, ..pages(1) }), INVALID),
        attempt("a shared memory", memory(MemoryType { shared: true, maximum: Some(1), ..pages(1) }), INVALID),
        attempt("a memory beyond 4 GiB", memory(pages(65_537)), INVALID),
    ]
}

/// Valid kernels that are as costly to check and rewrite as their author could make them, with their names.
pub fn burdens() -> Vec<(&'static str, Vec<u8>)> {
    const DEPTH: usize = 64;
    let nested = |run: &mut InstructionSink, open: &dyn Fn(&mut InstructionSink), depth: usize| {
        (0..depth).for_each(|_| open(run));
        (0..depth).for_each(|_| {
            run.end();
        });
        run.i64_const(0);
    };
    let if_ = |run: &mut InstructionSink| {
        run.local_get(1).if_(wasm_encoder::BlockType::Empty);
    };
    let loop_ = |run: &mut InstructionSink| {
        run.loop_(wasm_encoder::BlockType::Empty);
    };
    let conditional = |run: &mut InstructionSink| {
        run.block(wasm_encoder::BlockType::Empty).local_get(1).br_if(0);
    };
    vec![
        ("ifs 64 deep", super::kernel(&[], |run| nested(run, &if_, DEPTH))),
        ("loops 64 deep", super::kernel(&[], |run| nested(run, &loop_, DEPTH))),
        ("conditional branches 64 deep", super::kernel(&[], |run| nested(run, &conditional, DEPTH))),
        ("ifs 3,900 deep", super::kernel(&[], |run| nested(run, &if_, 3_900))),
        ("loops 3,900 deep", super::kernel(&[], |run| nested(run, &loop_, 3_900))),
        ("a branch to 65,520 labels", branch(65_520)),
        (
            "60,000 loops in a row",
            super::kernel(&[], |run| {
                (0..60_000).for_each(|_| {
                    run.loop_(wasm_encoder::BlockType::Empty).end();
                });
                run.i64_const(0);
            }),
        ),
        (
            "200,000 square roots of vectors",
            super::kernel(&[ValType::V128], |run| {
                run.local_get(2);
                (0..200_000).for_each(|_| {
                    run.f32x4_sqrt();
                });
                run.local_set(2).i64_const(0);
            }),
        ),
    ]
}

/// A module whose contract is kept, with other sections where the closure puts them: types, functions, memory, exports
/// and code are numbered as in [`super::kernel`].
fn with(extra: impl Fn(SectionId, &mut Module)) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("alloc", ExportKind::Func, 0).export("run", ExportKind::Func, 1);
    let mut code = CodeSection::new();
    let (mut alloc, mut run) = (Function::new([]), Function::new([]));
    alloc.instructions().i32_const(super::INPUT).end();
    run.instructions().i64_const(0).end();
    code.function(&alloc).function(&run);
    module.section(&types);
    extra(SectionId::Import, &mut module);
    module.section(&functions);
    extra(SectionId::Table, &mut module);
    module.section(&memories(pages(1)));
    module.section(&exports);
    extra(SectionId::Element, &mut module);
    module.section(&code);
    extra(SectionId::Data, &mut module);
    module.finish()
}

fn importing(module: &str, name: &str, what: EntityType) -> Vec<u8> {
    let mut imports = ImportSection::new();
    imports.import(module, name, what);
    with(|place, into| {
        if place == SectionId::Import {
            into.section(&imports);
        }
    })
}

fn many_imports(count: u32) -> Vec<u8> {
    let mut imports = ImportSection::new();
    (0..count).for_each(|_| {
        imports.import("", "", function_type());
    });
    with(|place, into| {
        if place == SectionId::Import {
            into.section(&imports);
        }
    })
}

fn function_type() -> EntityType {
    EntityType::Function(0)
}

fn global_type() -> EntityType {
    EntityType::Global(GlobalType { val_type: ValType::I32, mutable: true, shared: false })
}

fn pages(minimum: u64) -> MemoryType {
    MemoryType { minimum, maximum: None, memory64: false, shared: false, page_size_log2: None }
}

fn table(minimum: u64) -> TableType {
    TableType { element_type: RefType::FUNCREF, table64: false, minimum, maximum: None, shared: false }
}

fn memories(memory: MemoryType) -> MemorySection {
    let mut memories = MemorySection::new();
    memories.memory(memory);
    memories
}

fn memory(memory: MemoryType) -> Vec<u8> {
    let mut module = Module::new();
    module.section(&memories(memory));
    module.finish()
}

fn tables(count: u32, elements: u64) -> Vec<u8> {
    let mut tables = TableSection::new();
    (0..count).for_each(|_| {
        tables.table(table(elements));
    });
    with(|place, into| {
        if place == SectionId::Table {
            into.section(&tables);
        }
    })
}

fn many_elements(count: u32) -> Vec<u8> {
    let mut elements = ElementSection::new();
    (0..count).for_each(|_| {
        elements.passive(Elements::Functions((&[][..]).into()));
    });
    with(|place, into| {
        if place == SectionId::Element {
            into.section(&elements);
        }
    })
}

fn only_types(types: &TypeSection) -> Vec<u8> {
    let mut module = Module::new();
    module.section(types);
    module.finish()
}

fn wide_type(parameters: usize, results: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function(vec![ValType::I32; parameters], vec![ValType::I32; results]);
    only_types(&types)
}

fn many_types(count: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    (0..count).for_each(|_| types.ty().function([], []));
    only_types(&types)
}

/// All types in one recursive group, which a count of groups does not see.
fn one_group(count: u32) -> Vec<u8> {
    let mut section = vec![1, 0x4e];
    number(count, &mut section);
    (0..count).for_each(|_| section.extend([0x60, 0, 0]));
    section_of(SectionId::Type, &section)
}

fn doubling_structures(times: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    let field = |element_type| FieldType { element_type, mutable: false };
    types.ty().struct_([field(StorageType::I8)]);
    for before in 0..times {
        let two = RefType { nullable: false, heap_type: HeapType::Concrete(before) };
        let half = || field(StorageType::Val(ValType::Ref(two)));
        types.ty().struct_([half(), half()]);
    }
    only_types(&types)
}

fn doubling_component(times: u32) -> Vec<u8> {
    let mut types = wasm_encoder::ComponentTypeSection::new();
    types.defined_type().tuple([wasm_encoder::ComponentValType::Primitive(wasm_encoder::PrimitiveValType::U8)]);
    for before in 0..times {
        let half = wasm_encoder::ComponentValType::Type(before);
        types.defined_type().tuple([half, half]);
    }
    let mut component = Component::new();
    component.section(&types);
    component.finish()
}

fn nested_components(depth: u32) -> Vec<u8> {
    /// A component around bytes that are one already, so that wrapping costs no more than the bytes.
    struct Raw(Vec<u8>);
    impl wasm_encoder::Encode for Raw {
        fn encode(&self, sink: &mut Vec<u8>) {
            number(u32::try_from(self.0.len()).unwrap_or(u32::MAX), sink);
            sink.extend_from_slice(&self.0);
        }
    }
    impl ComponentSection for Raw {
        fn id(&self) -> u8 {
            4
        }
    }
    let mut inner = Component::new().finish();
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&Raw(inner));
        inner = outer.finish();
    }
    inner
}

fn module_in_component() -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(&Module::new()));
    component.finish()
}

fn nested_blocks(depth: u32, dead: bool) -> Vec<u8> {
    super::kernel(&[], |run| {
        if dead {
            run.unreachable();
        }
        (0..depth).for_each(|_| {
            run.block(wasm_encoder::BlockType::Empty);
        });
        (0..depth).for_each(|_| {
            run.end();
        });
        run.i64_const(0);
    })
}

fn branch(labels: usize) -> Vec<u8> {
    super::kernel(&[], |run| {
        run.block(wasm_encoder::BlockType::Empty).local_get(1).br_table(vec![0; labels], 0).end();
        run.i64_const(0);
    })
}

fn unended_blocks(depth: u32) -> Vec<u8> {
    super::kernel(&[], |run| {
        (0..depth).for_each(|_| {
            run.block(wasm_encoder::BlockType::Empty);
        })
    })
}

fn one_function(bodies: &[u8]) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    module.section(&types).section(&functions);
    let mut bytes = module.finish();
    bytes.extend(section_of(SectionId::Code, bodies).split_off(8));
    bytes
}

fn claimed_locals(count: u32) -> Vec<u8> {
    let mut body = vec![1];
    number(count, &mut body);
    body.extend([0x7f, 0x0b]);
    let mut bodies = vec![1];
    number(u32::try_from(body.len()).unwrap_or(u32::MAX), &mut bodies);
    bodies.extend(body);
    one_function(&bodies)
}

fn many_locals(count: u32, locals: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..count {
        functions.function(0);
        let mut body = Function::new([(locals, ValType::I64)]);
        body.instructions().end();
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

fn data(minimum: u64, address: u32, bytes: &[u8]) -> Vec<u8> {
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(address.cast_signed()), bytes.iter().copied());
    let mut module = Module::new();
    module.section(&memories(pages(minimum))).section(&data);
    module.finish()
}

fn data_count(count: u32) -> Vec<u8> {
    let mut module = Module::new();
    module.section(&DataCountSection { count });
    module.finish()
}

/// A section that begins with `front` and a length of `claimed` bytes, of which none follow.
fn claimed_section(id: SectionId, front: &[u8], claimed: u32) -> Vec<u8> {
    let mut content = front.to_vec();
    number(claimed, &mut content);
    section_of(id, &content)
}

/// A section that says how many items it has, and has none.
fn claimed_items(id: SectionId, count: u32) -> Vec<u8> {
    claimed_section(id, &[], count)
}

/// A section that says how long it is, and is not.
fn claimed_length(id: SectionId, length: u32) -> Vec<u8> {
    let mut module = Module::new().finish();
    module.push(id as u8);
    number(length, &mut module);
    module
}

fn section_of(id: SectionId, content: &[u8]) -> Vec<u8> {
    let mut module = claimed_length(id, u32::try_from(content.len()).unwrap_or(u32::MAX));
    module.extend_from_slice(content);
    module
}

/// LEB128.
fn number(mut value: u32, sink: &mut Vec<u8>) {
    while value >= 0x80 {
        sink.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    sink.push(value as u8);
}
