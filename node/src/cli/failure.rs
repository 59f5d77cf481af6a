//! Why a command did not do what was asked: what failed, why, and the next step, with its exit code.
//!
//! Owns the table of exit codes and the two forms in which a failure is told: sentences on standard error, and with
//! `-o json` one object on standard output too. Refuses a failure without a reason.

use serde_json::{Value, json};

/// What an exit code says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// A check failed, or what was asked was refused on its merits.
    Failed = 1,
    /// The command line, a file or a value given is not usable.
    Usage = 2,
    /// Something that the command needs is not there: a node, a kernel feature, time.
    Unavailable = 3,
}

/// A command that failed.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// Exit code.
    pub code: Code,
    /// What failed, as a verb phrase.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub next: Option<String>,
    /// What is known all the same; its fields stand beside the failure's own in the JSON form.
    pub details: Option<Value>,
    /// Exit status that replaces [`Failure::code`]: `cage run` keeps 0 to 124 for the program.
    pub status: Option<u8>,
}

/// The result of a command.
pub type Done<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of `code`.
    pub fn new(code: Code, what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let (what, why) = (what.into(), why.to_string());
        Failure { code, what, why, next: None, details: None, status: None }
    }
    /// A check that failed.
    pub fn failed(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::new(Code::Failed, what, why)
    }
    /// Something given that is not usable.
    pub fn usage(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::new(Code::Usage, what, why)
    }
    /// Something needed that is not there.
    pub fn unavailable(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::new(Code::Unavailable, what, why)
    }
    /// Adds the next step.
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }
    /// Adds what is known all the same.
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
    /// Replaces the exit status.
    pub fn status(mut self, status: u8) -> Self {
        self.status = Some(status);
        self
    }

    /// The process's exit status.
    pub fn exit_status(&self) -> u8 {
        self.status.unwrap_or(self.code as u8)
    }

    /// The form for people.
    pub fn text(&self) -> String {
        let next = self.next.as_ref().map(|step| format!("\nnext: {step}")).unwrap_or_default();
        format!("error: {}: {}{next}", self.what, self.why)
    }

    /// The form for programs.
    pub fn json(&self) -> Value {
        let mut all = match &self.details {
            Some(Value::Object(fields)) => Value::Object(fields.clone()),
            Some(other) => json!({ "details": other }),
            None => json!({}),
        };
        all["error"] = json!(self.what);
        all["reason"] = json!(self.why);
        all["next"] = json!(self.next);
        all["code"] = json!(self.exit_status());
        all
    }
}

/// Gives a foreign error its intent.
pub trait Doing<T> {
    /// The value given is not usable.
    fn usage(self, what: impl Into<String>) -> Done<T>;
    /// The system did not do it.
    fn unavailable(self, what: impl Into<String>) -> Done<T>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn usage(self, what: impl Into<String>) -> Done<T> {
        self.map_err(|e| Failure::usage(what, e))
    }
    fn unavailable(self, what: impl Into<String>) -> Done<T> {
        self.map_err(|e| Failure::unavailable(what, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let failure = Failure::unavailable("ask the node", "connection refused")
            .next("start one")
            .details(json!({"deployment": "web"}));
        assert_eq!(failure.text(), "error: ask the node: connection refused\nnext: start one");
        let want = json!({"deployment": "web", "error": "ask the node", "reason": "connection refused",
            "next": "start one", "code": 3});
        assert_eq!(failure.json(), want);
        assert_eq!(Failure::failed("run", "no cage").status(125).json()["code"], 125);
    }
}
