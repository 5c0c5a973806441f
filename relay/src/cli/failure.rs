//! How a command ends when it does not end well: the words for a person, the exit code for a program.

use std::{fmt, io, process::ExitCode};

use p2pnet_client::Error;
use p2pnet_shared::{
    job::JobState,
    refusal::{Code, Refusal},
};

use super::text;
use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Something on this machine: a file, a port, a folder. Exit code 1.
    Here {
        /// What is wrong.
        message: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// The command makes no sense as typed or configured. Exit code 2.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// The relay said no. Exit code 3.
    Refused(Refusal),
    /// The relay did not answer, or no relay did. Exit code 4.
    Unreachable {
        /// Whom we asked.
        url: String,
        /// The system's words.
        cause: String,
        /// The proxy that it was asked through.
        proxy: Option<String>,
    },
    /// Something answered that is no relay: a proxy's page of errors, a login. Exit code 4.
    NoApi {
        /// Whom we asked.
        url: String,
        /// What came.
        what: String,
        /// The proxy that it was asked through.
        proxy: Option<String>,
    },
    /// What stands before the relay wants a login. Exit code 4.
    Login {
        /// Whom we asked.
        url: String,
        /// What came.
        what: String,
        /// The proxy that it was asked through.
        proxy: Option<String>,
    },
    /// What answered names another address; requests are not sent on by themselves. Exit code 4.
    Moved {
        /// Whom we asked.
        url: String,
        /// Where the answer points.
        to: String,
        /// The relay's URL there, if that can be told.
        new_base: Option<String>,
        /// The proxy that it was asked through.
        proxy: Option<String>,
    },
    /// The job ended, but not with a result. Exit code 5.
    NoResult {
        /// Which.
        id: String,
        /// How.
        state: JobState,
        /// Why, if it said.
        reason: Option<Refusal>,
    },
    /// Whoever read the output wants no more of it. Exit code 0: that is no fault of anybody's.
    ReaderLeft,
    /// The person pressed Ctrl-C. Exit code 130.
    Interrupted {
        /// What goes on nevertheless.
        message: String,
    },
}

impl Failure {
    /// Something on this machine, with advice.
    pub fn here(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Here { message: message.into(), hint: hint.into() }
    }

    /// A wrong command, with advice.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// A file, or standard input, that cannot be read; one that is too long is refused as the relay would.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system has ever more kinds of errors")]
    pub fn unread(what: impl fmt::Display, error: &io::Error, hint: impl Into<String>) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => {
                let hint = "name the right file; docs/operators.md lists the limits";
                Self::Refused(Refusal::new(Code::TooLarge, format!("{what} is too large: {error}"), hint))
            }
            _ => Self::usage(format!("{what} cannot be read: {error}"), hint),
        }
    }

    /// What the process returns.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::ReaderLeft => 0,
            Failure::Here { .. } => 1,
            Failure::Usage { .. } => 2,
            Failure::Refused(_) => 3,
            Failure::Unreachable { .. } | Failure::NoApi { .. } | Failure::Login { .. } | Failure::Moved { .. } => 4,
            Failure::NoResult { .. } => 5,
            Failure::Interrupted { .. } => 130,
        })
    }

    fn hint(&self) -> &str {
        match self {
            Failure::Here { hint, .. } | Failure::Usage { hint, .. } => hint,
            Failure::Refused(refusal) => &refusal.hint,
            Failure::Unreachable { proxy: Some(_), .. } => {
                "the environment names this proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY); NO_PROXY lists names that are asked without it"
            }
            Failure::NoApi { .. } => {
                "is the URL right, and the relay behind it running and of this version? A proxy or a network that wants a login answers for others"
            }
            Failure::Login { .. } => {
                "give name and password in the URL, as in http://NAME:PASSWORD@HOST: in --url for what stands before the relay, in HTTP_PROXY or HTTPS_PROXY for a proxy on the way"
            }
            Failure::Moved { new_base: Some(_), .. } => "give the new URL, if you trust who names it",
            Failure::Moved { new_base: None, .. } => {
                "is the URL right? A proxy or a network that wants a login points elsewhere too"
            }
            Failure::Unreachable { proxy: None, .. } => {
                "start one with `p2pnet relay`, or name another with --url (or P2PNET_URL); see `p2pnet config`"
            }
            Failure::NoResult { reason, .. } => reason.as_ref().map_or("", |reason| &reason.hint),
            Failure::Interrupted { .. } | Failure::ReaderLeft => "",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Here { message, .. } | Failure::Usage { message, .. } => write!(f, "error: {message}")?,
            Failure::Refused(refusal) => write_refusal(f, refusal)?,
            Failure::Unreachable { url, cause, proxy } => {
                write!(f, "error: no relay answers at {url}: {cause}{}", through(proxy.as_ref()))?;
            }
            Failure::NoApi { url, what, proxy } => {
                write!(f, "error: the answer of {url} is {what}, not p2pnet's API{}", through(proxy.as_ref()))?;
            }
            Failure::Login { url, what, proxy } => {
                write!(
                    f,
                    "error: {url} wants a login before it lets us to a relay: {what}{}",
                    through(proxy.as_ref())
                )?;
            }
            Failure::Moved { url, to, new_base, proxy } => {
                write!(f, "error: {url} moved to {to}{}", through(proxy.as_ref()))?;
                if let Some(base) = new_base {
                    write!(f, "; use --url {base}")?;
                }
            }
            Failure::NoResult { id, state, reason } => {
                write!(f, "error: job {id} ended {}", word(state))?;
                if let Some(reason) = reason {
                    write!(f, ": {} [{}]", text::visible(&reason.message), word(&reason.code))?;
                }
            }
            Failure::Interrupted { message } => f.write_str(message)?,
            Failure::ReaderLeft => {}
        }
        if self.hint().is_empty() { Ok(()) } else { write!(f, "\n hint: {}", self.hint()) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unusable { message, hint } => Failure::Usage { message, hint },
            Error::NoClient { cause: _ } => {
                Failure::here(error.to_string(), "https:// needs this system's certificates (Debian: ca-certificates)")
            }
            Error::Refused(refusal) => Failure::Refused(in_our_words(refusal)),
            Error::Unreachable { asked, cause } => Failure::Unreachable { url: asked.url, cause, proxy: asked.proxy },
            Error::NoApi { asked, what, may_pass: _ } => Failure::NoApi { url: asked.url, what, proxy: asked.proxy },
            Error::Login { asked, what } => Failure::Login { url: asked.url, what, proxy: asked.proxy },
            Error::Moved { asked, to, new_base } => Failure::Moved { url: asked.url, to, new_base, proxy: asked.proxy },
        }
    }
}

/// The relay's advice names its API; here the command stands for that.
fn in_our_words(refusal: Refusal) -> Refusal {
    if refusal.code == Code::UnknownJob {
        return Refusal { hint: "`p2pnet job list` lists the jobs that you see".into(), ..refusal };
    }
    refusal
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::usage(error.to_string(), "`p2pnet config` shows every setting and where it comes from")
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

fn through(proxy: Option<&String>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" (asked through the proxy {proxy})"))
}

fn write_refusal(f: &mut fmt::Formatter<'_>, refusal: &Refusal) -> fmt::Result {
    let Refusal { code, message, hint: _, at } = refusal;
    write!(f, "error: {} [{}]", text::visible(message), word(code))?;
    match at {
        Some(at) => write!(f, " (at character {})", at + 1),
        None => Ok(()),
    }
}

/// The `snake_case` name that a value has in the API.
pub fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// A refusal for something that this program got wrong.
pub fn internal(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::Internal, message, "try again; if it happens again, please report it with the relay's log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_code_place_and_hint() {
        let refusal = Refusal::new(Code::InvalidFormula, "no such name: y", "use x").at(4);
        let text = Failure::from(refusal).to_string();
        assert_eq!(text, "error: no such name: y [invalid_formula] (at character 5)\n hint: use x");
    }
}
