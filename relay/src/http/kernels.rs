//! `PUT /api/v1/kernels`: a module on its own, as bytes, so that jobs may name it by its hash. JSON in base64 is a third
//! longer, and a job is read as a whole; this is the way for modules of any size that a node takes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    blob::{Blob, WeakBlob},
    id::{Hash, Holder},
    job::kinds::{Known, command},
    kernel::{self, MOST_MODULE_BYTES},
    refusal::{Code, Refusal},
};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    App,
    answer::{Refused, refuse},
    browsers,
    compress::Encoding,
    intake::{self, Bound, Received, SMALLER_MODULE},
    limits,
    owners::Asker,
    source::Source,
    turns::{Turn, Turns},
};
use crate::store::{KeptKernel, Writer};

/// Modules that this process found sound lately: a job that names one of them need not have it looked at again, which
/// takes seconds for a large one. While somebody holds one in memory, others who name it share that.
#[derive(Default)]
pub struct Sound {
    known: Mutex<VecDeque<SoundModule>>,
    /// Held by whoever brings one from the store, so that those who come meanwhile share it.
    bringing: Mutex<()>,
}

struct SoundModule {
    blob: WeakBlob,
    is_command: bool,
}

impl Sound {
    /// Remembers a module as one for jobs of kind `kernel`, or `command`.
    pub fn note(&self, blob: &Blob, is_command: bool) {
        let mut known = self.lock();
        known.retain(|module| (module.blob.hash(), module.is_command) != (blob.hash(), is_command));
        known.push_back(SoundModule { blob: blob.downgrade(), is_command });
        let beyond = known.len().saturating_sub(limits::SOUND_MODULES);
        known.drain(..beyond);
    }

    /// A module, from memory or as `bring` finds it, and what is known of it; `None` if there is none. Takes a time in
    /// proportion to its bytes.
    pub fn known(&self, hash: Hash, bring: impl FnOnce() -> Option<Vec<u8>>) -> Option<Known> {
        let _bringing = self.bringing.lock().unwrap_or_else(PoisonError::into_inner);
        let shared =
            self.lock().iter().filter(|module| module.blob.hash() == hash).find_map(|module| module.blob.upgrade());
        let blob = match shared {
            Some(blob) => blob,
            None => bring().map(Blob::new)?,
        };
        let mut known = self.lock();
        let mut is_known = |is_command| {
            let mut modules = known.iter_mut();
            let module = modules.find(|module| (module.blob.hash(), module.is_command) == (hash, is_command));
            // From now on this is the one to be shared.
            module.map(|module| module.blob = blob.downgrade()).is_some()
        };
        let (sound_as_kernel, sound_as_command) = (is_known(false), is_known(true));
        drop(known);
        Some(Known { blob, sound_as_kernel, sound_as_command })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SoundModule>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a module is named by from now on.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// BLAKE3 of its bytes.
    hash: Hash,
    /// How many they are.
    bytes: usize,
}

/// `PUT /api/v1/kernels`: answers when the module is on the disk.
pub async fn keep(
    State(app): State<Arc<App>>,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    if app.stopping.is_cancelled() {
        return refuse(Code::ShuttingDown, "this relay is stopping", "send the module again in a few seconds");
    }
    browsers::check_content_type(&headers, &browsers::A_MODULE)?;
    let source = asker.source;
    if !app.allowance.take(source, Instant::now()) {
        return refuse(Code::RateLimited, "too many modules and jobs from one address", "wait a second");
    }
    let encoding = Encoding::of(&headers)?;
    let body = app.intake.receive(source, body, &headers, Bound::OF_MODULE).await?;
    let arrived = Arrived { body, encoding, source, holder: app.owners.holder(asker) };
    let (module, is_command) = arrived.take(app.turns.clone(), app.store.writer().clone()).await?;
    app.sound.note(&module, is_command);
    Ok(Json(Kept { hash: module.hash(), bytes: module.len() }).into_response())
}

/// A module as it was sent.
struct Arrived {
    body: Received,
    encoding: Encoding,
    source: Source,
    holder: Holder,
}

impl Arrived {
    /// Keeps it; returns it once it is on the disk, and whether it is a `command`. Who hangs up waits no longer; but once its
    /// turn has come this goes on: nobody can stop the check, and what that takes is given back when it is over, not before.
    async fn take(self, turns: Turns, writer: Writer) -> Result<(Blob, bool), Refused> {
        let weight = self.encoding.weight(&self.body.bytes, MOST_MODULE_BYTES);
        let turn = self.body.waits_for(turns.wait(self.source, weight)).await?.ok_or_else(intake::full)?;
        match tokio::spawn(self.take_here(turn, writer)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "keeping a module panicked");
                refuse(Code::Internal, "the relay failed to keep this module", "please report it with the relay's log")
            }
        }
    }

    async fn take_here(self, turn: Turn, writer: Writer) -> Result<(Blob, bool), Refused> {
        let Self { body, encoding, source: _, holder } = self;
        let bytes = body.bytes.clone();
        let (module, is_command) = match spawn_blocking(move || check(encoding, bytes)).await {
            Ok(Ok(checked)) => checked,
            Ok(Err(refusal)) => {
                turn.refused();
                return Err(refusal.into());
            }
            Err(error) => {
                tracing::error!(%error, "reading a module panicked");
                let hint = "please report it with the module";
                return refuse(Code::Internal, "the relay failed to read this module", hint);
            }
        };
        let kept = writer.promise_kernel(KeptKernel { blob: module.clone(), holder }).await;
        // Until here: what waits for the disk takes memory.
        drop((turn, body));
        kept.map_err(|trouble| trouble.refusal_of_a_kernel())?;
        Ok((module, is_command))
    }
}

/// A module that some job could use, and whether that is a `command`.
fn check(encoding: Encoding, body: Bytes) -> Result<(Blob, bool), Refusal> {
    let module = encoding.unfold(body, MOST_MODULE_BYTES, SMALLER_MODULE)?;
    let is_command = command::is_command(&module);
    if is_command {
        kernel::prepare_program(&command::adapt(&module)?)?;
    } else {
        kernel::prepare_kernel(&module)?;
    }
    Ok((Blob::new(&*module), is_command))
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use futures::{FutureExt as _, poll};
    use p2pnet_shared::id::OwnerId;

    use super::*;
    use crate::{
        http::intake::Intake,
        store::{Caches, Store},
    };

    #[tokio::test]
    async fn a_client_that_hangs_up_waits_no_longer_and_gives_no_place_back_before_what_began_is_on_disk() {
        let folder = std::env::temp_dir().join(format!("p2pnet-kernels-hang-up-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (store, _) = Store::open(folder.join("store.sqlite"), Caches::default()).await.unwrap();
        let (intake, turns, source) = (Intake::default(), Turns::default(), Source::of([203, 0, 113, 1].into()));
        let receive =
            async |bytes: Vec<u8>| intake.receive(source, bytes.into(), &HeaderMap::new(), Bound::OF_MODULE).await;
        let mut others: Vec<Turn> = Vec::new();
        while let Some(Some(turn)) = turns.wait(source, 1).now_or_never() {
            others.push(turn);
        }
        let module = p2pnet_test_kernels::echo();
        let hash = Hash::of(&module);
        let hangs_up = async || {
            let arrived = Arrived {
                body: receive(module.clone()).await.unwrap(),
                encoding: Encoding::Plain,
                source,
                holder: Holder::of(OwnerId([1; 16])),
            };
            let mut client = Box::pin(arrived.take(turns.clone(), store.writer().clone()));
            assert!(poll!(&mut client).is_pending());
        };
        let large = || receive(vec![0; limits::MOST_BODY_BYTES]);
        let most = limits::BODY_BYTES_PER_ADDRESS / limits::MOST_BODY_BYTES;
        hangs_up().await;
        let mut held = Vec::new();
        for _ in 0..most {
            // The bytes of one that went away are free.
            held.push(large().now_or_never().unwrap().unwrap());
        }
        drop(others);
        tokio::task::yield_now().await;
        assert_eq!(store.kernel(hash).await, None, "nor does it go on when it could");
        held.pop();
        hangs_up().await;
        assert!(large().now_or_never().is_none(), "those of one that began count until it is kept");
        held.push(large().await.unwrap());
        assert!(store.kernel(hash).await.is_some());
        store.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_found_sound_is_remembered_by_kind_and_the_newest_of_it() {
        let (sound, one) = (Sound::default(), Blob::new(*b"one"));
        sound.note(&one, true);
        sound.note(&one, true);
        let known = |hash| sound.known(hash, || Some(b"one".to_vec())).unwrap();
        let found = known(one.hash());
        assert!(found.sound_as_command && !found.sound_as_kernel && &*found.blob == b"one");
        for n in 0..limits::SOUND_MODULES {
            sound.note(&Blob::new(n.to_le_bytes()), false);
        }
        assert!(!known(one.hash()).sound_as_command && sound.lock().len() == limits::SOUND_MODULES);
        assert!(sound.known(Hash::of(b"another"), || None).is_none());
    }

    #[test]
    fn those_who_name_a_module_that_is_in_memory_share_it_and_it_goes_with_the_last_of_them() {
        let (sound, one) = (Sound::default(), Blob::new(*b"one"));
        sound.note(&one, false);
        let first = sound.known(one.hash(), || None).unwrap().blob;
        assert!(Arc::ptr_eq(first.bytes(), one.bytes()), "nothing is brought");
        let memory = Arc::downgrade(one.bytes());
        let hash = one.hash();
        drop((first, one));
        assert!(memory.upgrade().is_none());
        let again = sound.known(hash, || Some(b"one".to_vec())).unwrap();
        assert!(again.sound_as_kernel);
        let other = sound.known(hash, || None).unwrap();
        assert!(Arc::ptr_eq(again.blob.bytes(), other.blob.bytes()));
    }
}
