//! `pipeline`: kernels one behind another over an input that is cut into parts.
//!
//! ```json
//! {"kind":"pipeline","kernel":"<base64 or hash>","then":"<…>","gather":"<…>","input":"<base64>","split":"lines"}
//! ```
//! Each part goes through `kernel`, and what comes of it through `then`, as soon as it is there. `gather` gets what came of all
//! parts, one after the other in the input's order. Of `then` and `gather` either may be left out, not both: that would be a
//! job of kind `kernel`. The result is base64, whatever the bytes are.

use super::{
    Modules,
    fields::Fields,
    kernel::{
        INPUT, Parts, REVERSE, SPLIT, UPPER_CASE, base64_text, fits_a_result, read_module, read_parts, read_split,
    },
    schema::{Example, Field, Kind, Output, Sample::Typed, Text, Type, text},
};
use crate::{
    blob::Blob,
    job::{CallShape, Done, Feed, Outputs, Plan, Stage, Stages, outputs},
    kernel::GivenAs,
    refusal::{Code, Refusal},
    units::Span,
};

/// What it says of itself.
pub(super) static KIND: Kind = Kind {
    name: "pipeline",
    title: text("Pipeline", "Конвейер"),
    about: text(
        "Your own kernels one behind another: each part of the input goes through the first and the second, and the last gets what came of all parts.",
        "Ваши модули друг за другом: каждая часть ввода проходит через первый и второй, а последний получает всё, что вышло из всех частей.",
    ),
    fields: &[
        Field::required("kernel", Type::Module, text("First kernel (.wasm)", "Первый модуль (.wasm)"), FIRST),
        Field::optional("then", Type::Module, text("Then (.wasm)", "Затем (.wasm)"), THEN),
        Field::optional("gather", Type::Module, text("At the end (.wasm)", "В конце (.wasm)"), GATHER),
        INPUT,
        SPLIT,
    ],
    examples: &[Example {
        name: text("Upper case, then backwards", "Прописные буквы, затем задом наперёд"),
        values: &[
            ("kernel", Typed(UPPER_CASE)),
            ("then", Typed(REVERSE)),
            ("input", Typed("never odd\nor even\nrats live on no evil star")),
            ("split", Typed("lines")),
        ],
    }],
    output: Output::Bytes,
    summary: |job| vec![job.text("split")],
};

const FIRST: Text = text(
    "The module that each part of the input goes through: its bytes in base64, or the hash of one that the node has.",
    "Модуль, через который проходит каждая часть ввода: его байты в base64 или хеш модуля, который есть у узла.",
);
const THEN: Text = text(
    "The module that each output of the first goes through, as soon as it is there.",
    "Модуль, через который проходит каждый ответ первого, как только он готов.",
);
const GATHER: Text = text(
    "The module that gets all outputs, one after another in the input's order, when they are all there.",
    "Модуль, который получает все ответы, один за другим в порядке ввода, когда они все готовы.",
);

struct Pipeline {
    first: Blob,
    then: Option<Blob>,
    gather: Option<Blob>,
    parts: Parts,
}

pub(super) fn read(fields: &mut Fields, modules: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let split = read_split(fields)?;
    let (has_then, has_gather) = (fields.has("then"), fields.has("gather"));
    if !has_then && !has_gather {
        let message = "a pipeline has `then` or `gather` behind its first kernel, and this one has neither";
        return Err(Refusal::new(Code::InvalidField, message, "give one of them, or submit a job of kind `kernel`"));
    }
    let mut module = |name: &str| {
        let known = read_module(fields, name, modules)?;
        if !known.sound_as_kernel {
            (modules.check)(&known.blob, GivenAs::Kernel)?;
        }
        Ok::<Blob, Refusal>(known.blob)
    };
    let first = module("kernel")?;
    let then = if has_then { Some(module("then")?) } else { None };
    let gather = if has_gather { Some(module("gather")?) } else { None };
    Ok(Box::new(Pipeline { first, then, gather, parts: read_parts(fields, split)? }))
}

impl Pipeline {
    /// The units whose outputs are the result, or are gathered.
    fn last_parts(&self) -> Span {
        let parts = self.parts.count();
        let start = if self.then.is_some() { parts } else { 0 };
        Span { start, end: start + parts }
    }
}

impl Plan for Pipeline {
    fn stages(&self) -> Stages {
        let parts = self.parts.count();
        let stage = |kernel: &Blob, units| Stage::of(kernel, units, CallShape::EachUnit);
        let mut stages = Stages::default();
        let mut last = stages.add(stage(&self.first, parts), &[]);
        if let Some(then) = &self.then {
            last = stages.add(stage(then, parts), &[Feed::Each(last)]);
        }
        if let Some(gather) = &self.gather {
            stages.add(stage(gather, 1), &[Feed::All(last)]);
        }
        stages
    }

    fn modules(&self) -> Vec<&Blob> {
        let mut modules = vec![&self.first];
        for module in self.then.iter().chain(&self.gather) {
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
        modules
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        let parts = self.parts.count();
        // What comes of a part is taken to be about as long as the part.
        let first = if start < parts { start } else { start - parts };
        if first < parts { self.parts.most_a_batch(first) } else { 1 }
    }

    fn inputs(&self, span: Span, done: &Done) -> Vec<Vec<u8>> {
        let parts = self.parts.count();
        if span.end <= parts {
            return (span.start..span.end).map(|part| self.parts.get(part).to_vec()).collect();
        }
        if span.start >= self.last_parts().end {
            return vec![outputs(done, self.last_parts()).flatten().copied().collect()];
        }
        let fed = Span { start: span.start.saturating_sub(parts), end: span.end.saturating_sub(parts) };
        outputs(done, fed).cloned().collect::<Outputs>()
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        // What goes on to another kernel may be larger than what that makes of it.
        let is_result = if self.gather.is_some() {
            span.start >= self.last_parts().end
        } else {
            span.start >= self.last_parts().start
        };
        if is_result { fits_a_result(output.len()) } else { Ok(()) }
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let last = self.last_parts();
        let units = if self.gather.is_some() { Span { start: last.end, end: last.end + 1 } } else { last };
        base64_text(outputs(done, units).map(Vec::as_slice))
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::json;

    use super::{
        super::tests::{job, result},
        *,
    };
    use crate::id::Hash;

    fn source(then: Option<&str>, gather: Option<&str>, input: &str) -> String {
        let mut job =
            json!({"kind": "pipeline", "kernel": UPPER_CASE, "input": STANDARD.encode(input), "split": "lines"});
        for (name, kernel) in [("then", then), ("gather", gather)] {
            if let Some(kernel) = kernel {
                job[name] = kernel.into();
            }
        }
        job.to_string()
    }

    fn text_of(source: &str) -> String {
        let result: String = serde_json::from_str(&result(source).unwrap()).unwrap();
        String::from_utf8(STANDARD.decode(result).unwrap()).unwrap()
    }

    #[test]
    fn parts_go_through_all_kernels_in_order() {
        assert_eq!(text_of(&source(Some(REVERSE), None, "one\ntwo\n")), "\nENO\nOWT");
        assert_eq!(text_of(&source(None, Some(REVERSE), "one\ntwo\n")), "\nOWT\nENO");
        assert_eq!(text_of(&source(Some(REVERSE), Some(REVERSE), "one\ntwo")), "TWOONE\n");
        assert_eq!(text_of(&source(Some(UPPER_CASE), Some(UPPER_CASE), "é\r\nx")), "é\r\nX");
    }

    #[test]
    fn modules_are_told_once_each_and_one_kernel_alone_is_no_pipeline() {
        let same = job(&source(Some(UPPER_CASE), Some(REVERSE), "a")).unwrap();
        assert_eq!(same.plan.modules().len(), 2);
        let alone = job(&source(None, None, "a")).map(|_| ()).unwrap_err();
        assert!(alone.code == Code::InvalidField && alone.hint.contains("`kernel`"), "{alone:?}");
        let unknown = job(&source(Some(&Hash([7; 32]).to_string()), None, "a")).map(|_| ()).unwrap_err();
        assert_eq!(unknown.code, Code::UnknownKernel);
        let broken = job(&source(None, Some(&STANDARD.encode(b"\0asm\x01\0\0\0")), "a")).map(|_| ()).unwrap_err();
        assert_eq!(broken.code, Code::InvalidKernel);
    }
}
