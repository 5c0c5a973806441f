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
    id::Hash,
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
    intake::{self, Bound, SMALLER_MODULE},
    limits,
    owners::Asker,
};
use crate::store::KeptKernel;

/// Modules that this process found sound lately: a job that names one of them need not have it looked at again, which
/// takes seconds for a large one.
#[derive(Default)]
pub struct Sound(Mutex<VecDeque<(Hash, bool)>>);

impl Sound {
    /// Remembers a module as one for jobs of kind `kernel`, or `command`.
    pub fn note(&self, hash: Hash, is_command: bool) {
        let mut known = self.lock();
        if !known.contains(&(hash, is_command)) {
            known.push_back((hash, is_command));
            let beyond = known.len().saturating_sub(limits::SOUND_MODULES);
            known.drain(..beyond);
        }
    }

    /// A module as it came out of the store, and what is known of it.
    pub fn known(&self, hash: Hash, bytes: Vec<u8>) -> Known {
        let known = self.lock();
        let is_known = |is_command| known.contains(&(hash, is_command));
        Known { bytes, sound_as_kernel: is_known(false), sound_as_command: is_known(true) }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Hash, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    let weight = encoding.weight(&body.bytes, MOST_MODULE_BYTES);
    let Some(turn) = app.turns.wait(source, weight).await else { return Err(intake::full().into()) };
    let bytes = body.bytes.clone();
    let (module, is_command) = match spawn_blocking(move || check(encoding, bytes)).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(refusal)) => {
            turn.refused();
            return Err(refusal.into());
        }
        Err(error) => {
            tracing::error!(%error, "reading a module panicked");
            return refuse(Code::Internal, "the relay failed to read this module", "please report it with the module");
        }
    };
    drop((turn, body));
    let (hash, bytes) = (Hash::of(&module), module.len());
    let kernel = KeptKernel { hash, bytes: module.to_vec(), holder: app.owners.holder(asker) };
    app.store.writer().promise_kernel(kernel).await.map_err(|trouble| trouble.refusal_of_a_kernel())?;
    app.sound.note(hash, is_command);
    Ok(Json(Kept { hash, bytes }).into_response())
}

/// A module that some job could use, and whether that is a `command`.
fn check(encoding: Encoding, body: Bytes) -> Result<(Bytes, bool), Refusal> {
    let module = encoding.unfold(body, MOST_MODULE_BYTES, SMALLER_MODULE)?;
    let is_command = command::is_command(&module);
    if is_command {
        kernel::prepare_program(&command::adapt(&module)?)?;
    } else {
        kernel::prepare(&module)?;
    }
    Ok((module, is_command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_sound_is_remembered_by_kind_and_the_newest_of_it() {
        let (sound, one) = (Sound::default(), Hash::of(b"one"));
        sound.note(one, true);
        sound.note(one, true);
        let known = sound.known(one, vec![1]);
        assert!(known.sound_as_command && !known.sound_as_kernel && known.bytes == [1]);
        for n in 0..limits::SOUND_MODULES {
            sound.note(Hash::of(&n.to_le_bytes()), false);
        }
        assert!(!sound.known(one, Vec::new()).sound_as_command && sound.lock().len() == limits::SOUND_MODULES);
    }
}
