//! The page's further pieces of WebAssembly: each is fetched where it is first needed, so that a visit costs no more than
//! what it uses.
//!
//! | piece | has | is needed |
//! |---|---|---|
//! | `worker` | check and rewrite of kernels, the browser's compiler as an engine | by whoever computes |
//! | `kinds` | what reads, cuts and merges jobs | by whoever submits |
//! | `interpreter` | wasmi | for the few kernels that the browser itself cannot run |
//!
//! Their addresses hold hashes of their content, so the page that was built with them says in `<meta>` elements where they are.

use std::cell::RefCell;

use futures::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use js_sys::{Promise, Reflect, WebAssembly::Module};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Response, Url};

use crate::js::thrown_text;

#[wasm_bindgen]
extern "C" {
    /// JavaScript's `import`, which only a script can name: `index.html` and the workers' script each have this.
    #[wasm_bindgen(catch, js_name = p2pnetImport)]
    fn import_script(address: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = WebAssembly, js_name = compileStreaming)]
    fn compile_streaming(answer: &Promise) -> Result<Promise, JsValue>;
}

/// A piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What runs in workers, and checks kernels in the page.
    Worker,
    /// What reads jobs.
    Kinds,
    /// What interprets kernels.
    Interpreter,
}

impl Piece {
    /// As its files are called.
    pub fn name(self) -> &'static str {
        match self {
            Piece::Worker => "worker",
            Piece::Kinds => "kinds",
            Piece::Interpreter => "interpreter",
        }
    }

    /// The whole address of its JavaScript; asked in the page.
    pub fn address(self) -> Result<String, String> {
        let document = web_sys::window().and_then(|window| window.document());
        let said = document
            .and_then(|document| document.query_selector(&format!("meta[name=p2pnet-{}]", self.name())).ok().flatten())
            .and_then(|meta| meta.get_attribute("content"))
            .ok_or_else(|| format!("the page was built without its piece {:?}", self.name()))?;
        let origin = web_sys::window().and_then(|window| window.location().origin().ok()).unwrap_or_default();
        Url::new_with_base(&said, &origin).map(|url| url.href()).map_err(|thrown| thrown_text(&thrown))
    }
}

/// Imports the JavaScript at an address: what it exports. Browsers remember an import that failed, so each further try has
/// an address of its own.
pub async fn import(address: &str, tries: u32) -> Result<JsValue, String> {
    let address = if tries == 0 { address.to_owned() } else { format!("{address}?{tries}") };
    let coming = import_script(&address).map_err(|thrown| thrown_text(&thrown))?;
    JsFuture::from(coming).await.map_err(|thrown| thrown_text(&thrown))
}

/// Imports a piece and brings it up, from `module` or else from the file beside its JavaScript; gives what it exports.
pub async fn start(address: &str, tries: u32, module: Option<&Module>) -> Result<JsValue, String> {
    let exports = import(address, tries).await?;
    let init = Reflect::get(&exports, &"default".into()).ok().and_then(|init| init.dyn_into::<js_sys::Function>().ok());
    let init = init.ok_or_else(|| format!("{address} is no piece of this page"))?;
    let given = js_sys::Object::new();
    if let Some(module) = module {
        Reflect::set(&given, &"module_or_path".into(), module).map_err(|thrown| thrown_text(&thrown))?;
    }
    let argument = if module.is_some() { JsValue::from(given) } else { JsValue::UNDEFINED };
    let coming = init.call1(&JsValue::UNDEFINED, &argument).map_err(|thrown| thrown_text(&thrown))?;
    JsFuture::from(Promise::resolve(&coming)).await.map_err(|thrown| thrown_text(&thrown))?;
    Ok(exports)
}

type Compiling = Shared<LocalBoxFuture<'static, Result<Module, String>>>;

/// The piece for workers, compiled once for all of them; fetched when it is first asked for, and again after that failed.
pub async fn worker_module() -> Result<Module, String> {
    thread_local! {
        static COMING: RefCell<Option<Compiling>> = const { RefCell::new(None) };
    }
    let compiling = || compile(Piece::Worker).boxed_local().shared();
    let coming = COMING.with_borrow_mut(|coming| coming.get_or_insert_with(compiling).clone());
    let compiled = coming.await;
    if compiled.is_err() {
        COMING.set(None);
    }
    compiled
}

async fn compile(piece: Piece) -> Result<Module, String> {
    let address = piece.address()?;
    let address = format!("{}_bg.wasm", address.strip_suffix(".js").unwrap_or(&address));
    let window = web_sys::window().ok_or("there is no window")?;
    let asked = window.fetch_with_str(&address);
    let answer =
        JsFuture::from(asked.clone()).await.map_err(|thrown| format!("{address}: {}", thrown_text(&thrown)))?;
    let status = answer.dyn_ref::<Response>().filter(|answer| !answer.ok()).map(Response::status);
    if let Some(status) = status {
        return Err(format!("{address}: HTTP {status}"));
    }
    let compiling = compile_streaming(&asked).map_err(|thrown| thrown_text(&thrown))?;
    let module = JsFuture::from(compiling).await.map_err(|thrown| format!("{address}: {}", thrown_text(&thrown)))?;
    module.dyn_into().map_err(|_| format!("{address} is no WebAssembly"))
}
