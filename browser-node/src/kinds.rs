//! Jobs as the page has them: what reads, cuts and merges them is a piece of WebAssembly of its own, fetched when somebody
//! submits one or goes on with one. The piece's own side is `bin/p2pnet-kinds.rs`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::{Function, Reflect, Uint8Array};
use p2pnet_shared::{
    blob::Blob,
    id::{Hash, Holder},
    job::{
        CallShape, Done, Feed, Job, Outputs, Plan, Policy, Program, Requirements, Stage, StageId, Stages, kinds,
        metadata::Metadata,
    },
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
    fn blobs(this: &RemoteJob) -> Result<Vec<Uint8Array>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn most_units_a_batch(this: &RemoteJob, start: u64) -> Result<u64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn inputs(this: &RemoteJob, start: u64, end: u64, done: &[u8]) -> Result<Vec<Uint8Array>, JsValue>;
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
    stages: Vec<AboutStage>,
    /// Modules that it brought, by their places among its blobs.
    modules: Vec<usize>,
    partial_result: bool,
}

/// What does not change about one of its stages. Blobs are named by their places among those of the job.
#[derive(Debug, Serialize, Deserialize)]
struct AboutStage {
    kernel: usize,
    common: Option<usize>,
    units: u64,
    each_unit: bool,
    needs: Vec<AboutFeed>,
}

/// The place of a stage that feeds another, and how.
#[derive(Debug, Serialize, Deserialize)]
enum AboutFeed {
    All(usize),
    Each(usize),
}

impl About {
    /// Of a job, and the blobs that it speaks of.
    pub fn of(job: &Job) -> (Self, Vec<Blob>) {
        let mut blobs: Vec<Blob> = Vec::new();
        let mut place = |blob: &Blob| {
            let known = blobs.iter().position(|other| other.hash() == blob.hash());
            known.unwrap_or_else(|| {
                blobs.push(blob.clone());
                blobs.len() - 1
            })
        };
        let stages = &job.stages;
        let stages = stages.iter().map(|placed| {
            let Program::Wasm(kernel) = &placed.stage.program;
            AboutStage {
                kernel: place(kernel),
                common: placed.stage.common.as_ref().map(&mut place),
                units: placed.stage.units,
                each_unit: match placed.stage.shape {
                    CallShape::EachUnit => true,
                    CallShape::WholeSpan => false,
                },
                needs: placed.needs.iter().copied().map(AboutFeed::of).collect(),
            }
        });
        let stages = stages.collect();
        let about = Self {
            kind: job.kind.to_owned(),
            metadata: job.metadata.clone(),
            requirements: job.requirements,
            policy: job.policy,
            stages,
            modules: job.plan.modules().into_iter().map(&mut place).collect(),
            partial_result: job.plan.has_partial_result(),
        };
        (about, blobs)
    }
}

impl AboutFeed {
    fn of(feed: Feed) -> Self {
        match feed {
            Feed::All(stage) => AboutFeed::All(stage.index()),
            Feed::Each(stage) => AboutFeed::Each(stage.index()),
        }
    }
}

/// Finished spans on their way into the piece.
pub type PackedDone = Vec<(Span, Vec<ByteBuf>)>;

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
            stages: plan.stages(),
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
    stages: Stages,
    modules: Vec<Blob>,
    partial_result: bool,
}

impl RemotePlan {
    fn new(job: Remote, about: &About) -> Result<Self, JsValue> {
        let blobs: Vec<Blob> = job.0.blobs()?.iter().map(|bytes| Blob::new(bytes.to_vec())).collect();
        let blob = |place: usize| blobs.get(place).cloned().ok_or(JsValue::UNDEFINED);
        let (mut stages, mut ids): (Stages, Vec<StageId>) = (Stages::default(), Vec::new());
        for said in &about.stages {
            let shape = if said.each_unit { CallShape::EachUnit } else { CallShape::WholeSpan };
            let common = said.common.map(blob).transpose()?;
            let needs = said.needs.iter().filter_map(|feed| match feed {
                AboutFeed::All(stage) => ids.get(*stage).copied().map(Feed::All),
                AboutFeed::Each(stage) => ids.get(*stage).copied().map(Feed::Each),
            });
            let needs: Vec<Feed> = needs.collect();
            let stage = Stage::of(&blob(said.kernel)?, said.units, shape).with_common(common.as_ref());
            ids.push(stages.add(stage, &needs));
        }
        Ok(Self {
            stages,
            modules: about.modules.iter().map(|place| blob(*place)).collect::<Result<_, _>>()?,
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
    fn stages(&self) -> Stages {
        self.stages.clone()
    }

    fn modules(&self) -> Vec<&Blob> {
        self.modules.iter().collect()
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        self.job().most_units_a_batch(start).unwrap_or(1)
    }

    fn inputs(&self, span: Span, done: &Done) -> Vec<Vec<u8>> {
        let fed = packed(self.stages.feeding(span, done));
        let inputs = self.job().inputs(span.start, span.end, &fed).unwrap_or_default();
        inputs.iter().map(Uint8Array::to_vec).collect()
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        match self.job().check(span.start, span.end, output) {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(read_refusal(&refusal)),
            Err(thrown) => Err(refused(&thrown)),
        }
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        self.job().merge(&packed(done)).map_err(|thrown| refused(&thrown))
    }

    fn instead(&self, why: &Refusal) -> Option<Vec<u8>> {
        self.job().instead(&serde_json::to_string(why).ok()?).ok()?
    }

    fn is_instead(&self, output: &[u8]) -> bool {
        self.job().is_instead(output).unwrap_or(false)
    }

    fn failure(&self, done: &Done) -> Option<Refusal> {
        match self.job().failure(&packed(done)) {
            Ok(said) => said.map(|refusal| read_refusal(&refusal)),
            Err(thrown) => Some(refused(&thrown)),
        }
    }

    fn failed_parts(&self, done: &Done) -> u64 {
        self.job().failed_parts(&packed(done)).unwrap_or(0)
    }

    fn has_partial_result(&self) -> bool {
        self.partial_result
    }
}

/// [`PackedDone`], without a copy of the outputs.
fn packed<'a>(done: impl IntoIterator<Item = (&'a Span, &'a Outputs)>) -> Vec<u8> {
    let outputs = |outputs: &'a Outputs| outputs.iter().map(|output| Bytes::new(output)).collect();
    let done: Vec<(Span, Vec<&Bytes>)> = done.into_iter().map(|(span, each)| (*span, outputs(each))).collect();
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
