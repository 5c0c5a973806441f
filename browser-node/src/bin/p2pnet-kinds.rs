//! The piece of the page that reads, cuts and merges jobs, for whoever submits one. The page's side is `kinds.rs`.

use js_sys::{Function, Uint8Array};
use p2pnet_browser::{
    decode,
    kinds::{About, PackedDone},
};
use p2pnet_shared::{
    blob::Blob,
    id::Hash,
    job::{
        Done, Plan,
        kinds::{Known, Modules, read_with},
    },
    kernel::GivenAs,
    refusal::{Code, Refusal},
    units::Span,
};
use serde_bytes::ByteBuf;
use wasm_bindgen::{JsCast, JsError, JsValue, prelude::wasm_bindgen};

fn main() {}

/// A job that was read.
#[wasm_bindgen]
pub struct ReadJob {
    plan: Box<dyn Plan>,
    about: About,
    /// Those that it speaks of by their places.
    blobs: Vec<Blob>,
}

/// Reads a job. `find` gives the bytes of a module that is named by its hash, `check` a refusal in JSON of a kernel that
/// nodes cannot run (`p2pnet-worker.rs`); what is thrown is a refusal in JSON.
#[wasm_bindgen]
pub fn read(source: &str, find: &Function, check: &Function) -> Result<ReadJob, JsValue> {
    let modules = Modules {
        find: &|hash: Hash| {
            let found = find.call1(&JsValue::UNDEFINED, &hash.to_string().into()).ok()?;
            Some(Known::new(Blob::new(found.dyn_into::<Uint8Array>().ok()?.to_vec())))
        },
        check: &|kernel: &[u8], given: GivenAs| {
            let is_program = JsValue::from(given == GivenAs::Program);
            let said = check.call2(&JsValue::UNDEFINED, &Uint8Array::from(kernel), &is_program);
            match said.map(|said| said.as_string()) {
                Ok(None) => Ok(()),
                Ok(Some(refusal)) => Err(serde_json::from_str(&refusal).unwrap_or_else(|_| unchecked())),
                Err(_) => Err(unchecked()),
            }
        },
    };
    let job = read_with(source, &modules).map_err(|refusal| in_json(&refusal))?;
    let (about, blobs) = About::of(&job);
    Ok(ReadJob { plan: job.plan, about, blobs })
}

fn unchecked() -> Refusal {
    Refusal::new(Code::Internal, "the kernel could not be checked in this browser", "reload the page and try again")
}

fn in_json(refusal: &Refusal) -> String {
    serde_json::to_string(refusal).unwrap_or_default()
}

#[wasm_bindgen]
impl ReadJob {
    /// What does not change about it, in JSON.
    pub fn about(&self) -> String {
        serde_json::to_string(&self.about).unwrap_or_default()
    }

    /// The blobs that [`ReadJob::about`] speaks of by their places.
    pub fn blobs(&self) -> Vec<Uint8Array> {
        self.blobs.iter().map(|blob| Uint8Array::from(&**blob)).collect()
    }

    /// See [`Plan::most_units_a_batch`].
    pub fn most_units_a_batch(&self, start: u64) -> u64 {
        self.plan.most_units_a_batch(start)
    }

    /// See [`Plan::inputs`].
    pub fn inputs(&self, start: u64, end: u64, done: &[u8]) -> Result<Vec<Uint8Array>, JsError> {
        let inputs = self.plan.inputs(Span { start, end }, &read_done(done)?);
        Ok(inputs.iter().map(|input| Uint8Array::from(&**input)).collect())
    }

    /// See [`Plan::check`].
    pub fn check(&self, start: u64, end: u64, output: &[u8]) -> Option<String> {
        self.plan.check(Span { start, end }, output).err().map(|refusal| in_json(&refusal))
    }

    /// See [`Plan::merge`].
    pub fn merge(&self, done: &[u8]) -> Result<String, JsValue> {
        self.plan.merge(&read_done(done)?).map_err(|refusal| in_json(&refusal).into())
    }

    /// See [`Plan::instead`].
    pub fn instead(&self, why: &str) -> Option<Vec<u8>> {
        self.plan.instead(&serde_json::from_str(why).ok()?)
    }

    /// See [`Plan::is_instead`].
    pub fn is_instead(&self, output: &[u8]) -> bool {
        self.plan.is_instead(output)
    }

    /// See [`Plan::failure`].
    pub fn failure(&self, done: &[u8]) -> Result<Option<String>, JsError> {
        Ok(self.plan.failure(&read_done(done)?).map(|refusal| in_json(&refusal)))
    }

    /// See [`Plan::failed_parts`].
    pub fn failed_parts(&self, done: &[u8]) -> Result<u64, JsError> {
        Ok(self.plan.failed_parts(&read_done(done)?))
    }
}

fn read_done(done: &[u8]) -> Result<Done, JsError> {
    let done: PackedDone = decode(done).ok_or_else(|| JsError::new("the page said something unreadable"))?;
    Ok(done.into_iter().map(|(span, outputs)| (span, outputs.into_iter().map(ByteBuf::into_vec).collect())).collect())
}
