//! Jobs as the page has them: what reads, cuts and merges them is a piece of WebAssembly of its own, fetched when somebody
//! submits one or goes on with one. The piece's own side is `bin/p2pnet-kinds.rs`.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use js_sys::{Function, Reflect, Uint8Array};
use p2pnet_shared::{
    blob::Blob,
    id::{Hash, Holder},
    job::{CallShape, Job, Outputs, Plan, Policy, Requirements, kinds, metadata::Metadata},
    refusal::{Code, Refusal},
    units::Span,
};
use send_wrapper::SendWrapper;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

use crate::{
    js::thrown_text,
    pieces::{self, Piece},
    pool::protocol::encode,
};

#[wasm_bindgen]
extern "C" {
    /// What the piece exports.
    #[derive(Clone)]
    type Exports;
    #[wasm_bindgen(method, catch)]
    fn read(
        this: &Exports,
        source: &str,
        find: &dyn Fn(String) -> JsValue,
        check: &Function,
    ) -> Result<RemoteJob, JsValue>;

    type RemoteJob;
    #[wasm_bindgen(method)]
    fn free(this: &RemoteJob);
    #[wasm_bindgen(method, catch)]
    fn about(this: &RemoteJob) -> Result<String, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn kernel(this: &RemoteJob) -> Result<Vec<u8>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn module(this: &RemoteJob) -> Result<Option<Vec<u8>>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn common(this: &RemoteJob) -> Result<Option<Vec<u8>>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn most_units_a_batch(this: &RemoteJob, start: u64) -> Result<u64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn inputs(this: &RemoteJob, start: u64, end: u64) -> Result<Vec<Uint8Array>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn last_input(this: &RemoteJob, done: &[u8]) -> Result<Vec<u8>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn check(this: &RemoteJob, start: u64, end: u64, output: &[u8]) -> Result<Option<String>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn merge(this: &RemoteJob, done: &[u8]) -> Result<String, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn instead(this: &RemoteJob, why: &str) -> Result<Option<Vec<u8>>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn is_instead(this: &RemoteJob, output: &[u8]) -> Result<bool, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn failure(this: &RemoteJob, done: &[u8]) -> Result<Option<String>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn failed_parts(this: &RemoteJob, done: &[u8]) -> Result<u64, JsValue>;
}

/// What does not change about a job that was read.
#[derive(Debug, Serialize, Deserialize)]
pub struct About {
    kind: String,
    metadata: Metadata,
    requirements: Requirements,
    policy: Policy,
    units: u64,
    each_unit: bool,
    last_step: bool,
    partial_result: bool,
}

impl About {
    /// Of a job.
    pub fn of(job: &Job) -> Self {
        Self {
            kind: job.kind.to_owned(),
            metadata: job.metadata.clone(),
            requirements: job.requirements,
            policy: job.policy,
            units: job.plan.units(),
            each_unit: match job.plan.shape() {
                CallShape::EachUnit => true,
                CallShape::WholeSpan => false,
            },
            last_step: job.plan.has_last_step(),
            partial_result: job.plan.has_partial_result(),
        }
    }
}

/// Finished spans on their way into the piece.
pub type Done = Vec<(Span, Vec<ByteBuf>)>;

/// The readers of jobs, here or not yet. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kinds {
    here: Rc<RefCell<Option<Readers>>>,
    failed: Rc<Cell<u32>>,
}

/// The readers of jobs, here. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    exports: Exports,
    check: Function,
}

impl PartialEq for Readers {
    fn eq(&self, other: &Self) -> bool {
        self.check == other.check
    }
}

impl Kinds {
    /// Those of this page; there is one set.
    pub fn of_page() -> Self {
        thread_local! {
            static KINDS: Kinds = Kinds::default();
        }
        KINDS.with(Clone::clone)
    }

    /// The readers, if they are here already.
    pub fn here(&self) -> Option<Readers> {
        self.here.borrow().clone()
    }

    /// The readers, fetched if they are not here yet; a refusal says why they do not come. It may be tried again.
    pub async fn readers(&self) -> Result<Readers, Refusal> {
        if let Some(here) = self.here() {
            return Ok(here);
        }
        match self.fetch().await {
            Ok(readers) => Ok(self.here.borrow_mut().get_or_insert(readers).clone()),
            Err(reason) => {
                self.failed.set(self.failed.get() + 1);
                let message = format!("the part of the page that reads jobs did not arrive: {reason}");
                Err(Refusal::new(Code::Internal, message, "look whether the relay can be reached, and try again"))
            }
        }
    }

    async fn fetch(&self) -> Result<Readers, String> {
        let tries = self.failed.get();
        let (kinds, worker) = (Piece::Kinds.address()?, Piece::Worker.address()?);
        let checking = async {
            let module = pieces::worker_module().await?;
            pieces::start(&worker, tries, Some(&module)).await
        };
        let (exports, checking) = futures::join!(pieces::start(&kinds, tries, None), checking);
        let check = Reflect::get(&checking?, &"check".into()).map_err(|thrown| thrown_text(&thrown))?;
        Ok(Readers {
            exports: exports?.unchecked_into(),
            check: check.dyn_into().map_err(|_| "nothing here checks kernels".to_owned())?,
        })
    }
}

impl Readers {
    /// Reads, checks and compiles a job from the JSON that a person wrote.
    pub fn read(&self, source: &str) -> Result<Job, Refusal> {
        self.read_again(source, &|_| None)
    }

    /// The same of a job that names a module, which `find` finds.
    pub fn read_again(&self, source: &str, find: &dyn Fn(Hash) -> Option<Blob>) -> Result<Job, Refusal> {
        let find = |hash: String| {
            let found = hash.parse().ok().and_then(find);
            found.map_or(JsValue::UNDEFINED, |blob| Uint8Array::from(&blob[..]).into())
        };
        let remote = self.exports.read(source, &find, &self.check).map_err(|thrown| refused(&thrown))?;
        let remote = Remote(remote);
        let about = remote.0.about().map_err(|thrown| refused(&thrown))?;
        let about: About = serde_json::from_str(&about).map_err(|_| lost())?;
        let plan = RemotePlan::new(remote, &about).map_err(|thrown| refused(&thrown))?;
        Ok(Job {
            holder: Holder::LOCAL,
            kind: kinds::named(&about.kind).ok_or_else(lost)?.name,
            metadata: about.metadata,
            source: kinds::without_mark(source).into(),
            requirements: about.requirements,
            policy: about.policy,
            plan: Box::new(plan),
        })
    }
}

/// A job inside the piece, which gives its memory back when nobody has it any more.
struct Remote(RemoteJob);

impl Drop for Remote {
    fn drop(&mut self) {
        self.0.free();
    }
}

/// The plan of a job inside the piece.
struct RemotePlan {
    job: SendWrapper<Remote>,
    kernel: Blob,
    module: Option<Blob>,
    common: Option<Blob>,
    units: u64,
    shape: CallShape,
    last_step: bool,
    partial_result: bool,
}

impl RemotePlan {
    fn new(job: Remote, about: &About) -> Result<Self, JsValue> {
        Ok(Self {
            kernel: Blob::new(job.0.kernel()?),
            module: job.0.module()?.map(Blob::new),
            common: job.0.common()?.map(Blob::new),
            units: about.units,
            shape: if about.each_unit { CallShape::EachUnit } else { CallShape::WholeSpan },
            last_step: about.last_step,
            partial_result: about.partial_result,
            job: SendWrapper::new(job),
        })
    }

    fn job(&self) -> &RemoteJob {
        &self.job.0
    }
}

// Where the piece itself broke, a call gives what ends the job or its part with a refusal.
impl Plan for RemotePlan {
    fn kernel(&self) -> &Blob {
        &self.kernel
    }

    fn module(&self) -> Option<&Blob> {
        self.module.as_ref()
    }

    fn common(&self) -> Option<&Blob> {
        self.common.as_ref()
    }

    fn units(&self) -> u64 {
        self.units
    }

    fn shape(&self) -> CallShape {
        self.shape
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        self.job().most_units_a_batch(start).unwrap_or(1)
    }

    fn inputs(&self, span: Span) -> Vec<Vec<u8>> {
        let inputs = self.job().inputs(span.start, span.end).unwrap_or_default();
        inputs.iter().map(Uint8Array::to_vec).collect()
    }

    fn has_last_step(&self) -> bool {
        self.last_step
    }

    fn last_input(&self, done: &BTreeMap<Span, Outputs>) -> Vec<u8> {
        self.job().last_input(&packed(done)).unwrap_or_default()
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        match self.job().check(span.start, span.end, output) {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(read_refusal(&refusal)),
            Err(thrown) => Err(refused(&thrown)),
        }
    }

    fn merge(&self, done: &BTreeMap<Span, Outputs>) -> Result<String, Refusal> {
        self.job().merge(&packed(done)).map_err(|thrown| refused(&thrown))
    }

    fn instead(&self, why: &Refusal) -> Option<Vec<u8>> {
        self.job().instead(&serde_json::to_string(why).ok()?).ok()?
    }

    fn is_instead(&self, output: &[u8]) -> bool {
        self.job().is_instead(output).unwrap_or(false)
    }

    fn failure(&self, done: &BTreeMap<Span, Outputs>) -> Option<Refusal> {
        match self.job().failure(&packed(done)) {
            Ok(said) => said.map(|refusal| read_refusal(&refusal)),
            Err(thrown) => Some(refused(&thrown)),
        }
    }

    fn failed_parts(&self, done: &BTreeMap<Span, Outputs>) -> u64 {
        self.job().failed_parts(&packed(done)).unwrap_or(0)
    }

    fn has_partial_result(&self) -> bool {
        self.partial_result
    }
}

/// [`Done`], without a copy of the outputs.
fn packed(done: &BTreeMap<Span, Outputs>) -> Vec<u8> {
    let done: Vec<(Span, Vec<&Bytes>)> =
        done.iter().map(|(span, outputs)| (*span, outputs.iter().map(|output| Bytes::new(output)).collect())).collect();
    encode(&done).unwrap_or_default()
}

fn refused(thrown: &JsValue) -> Refusal {
    thrown.as_string().map_or_else(lost, |refusal| read_refusal(&refusal))
}

fn read_refusal(text: &str) -> Refusal {
    serde_json::from_str(text).unwrap_or_else(|_| lost())
}

/// The piece broke in its middle, which only a mistake in its code or a lack of memory can do.
fn lost() -> Refusal {
    let message = "the part of the page that reads jobs stopped because of a mistake in its own code";
    Refusal::new(Code::Internal, message, "reload the page; jobs are kept")
}
