//! Why a question to a relay has no answer that can be used.

use p2pnet_shared::refusal::Refusal;

/// Why a question has no answer. Texts of strangers in it are short and without hidden characters, but for a refusal's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL, the token or what is asked makes no request.
    #[error("{message}")]
    Unusable {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// This machine cannot ask at all.
    #[error("the HTTP client cannot start: {cause}")]
    NoClient {
        /// The library's words.
        cause: String,
    },
    /// The relay said no: its code, its message and its hint.
    #[error("{0}")]
    Refused(Refusal),
    /// The relay did not answer, or no relay did.
    #[error("no relay answers at {}: {cause}", asked.url)]
    Unreachable {
        /// Who was asked.
        asked: Asked,
        /// The system's words.
        cause: String,
    },
    /// Something answered that is no relay: a proxy's page of errors, a login.
    #[error("the answer of {} is {what}, not p2pnet's API", asked.url)]
    NoApi {
        /// Who was asked.
        asked: Asked,
        /// What came.
        what: String,
        /// Whether it was said to be an error: a relay that is away for a moment is missed by its proxy so.
        may_pass: bool,
    },
    /// What stands before the relay wants a login.
    #[error("{} wants a login before it lets us to a relay: {what}", asked.url)]
    Login {
        /// Who was asked.
        asked: Asked,
        /// What came.
        what: String,
    },
    /// What answered names another address; requests are not sent on by themselves.
    #[error("{} moved to {to}", asked.url)]
    Moved {
        /// Who was asked.
        asked: Asked,
        /// Where the answer points.
        to: String,
        /// The relay's URL there, if that can be told.
        new_base: Option<String>,
    },
}

/// Who was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The relay's URL, without a password.
    pub url: String,
    /// The proxy that it was asked through.
    pub proxy: Option<String>,
}

impl Error {
    /// What was given cannot be used.
    pub(crate) fn unusable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Unusable { message: message.into(), hint: hint.into() }
    }
}
