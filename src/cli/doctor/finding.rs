//! One thing found out about the host.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Something is missing that some pods need.
    Warn,
    /// No pod can run.
    Fail,
}

/// One thing found out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) level: Level,
    /// What was looked at, in two or three words.
    pub(super) subject: &'static str,
    /// What was found.
    pub(super) fact: String,
    /// What follows for pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consequence: Option<&'static str>,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<&'static str>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(subject: &'static str, fact: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            subject,
            fact: fact.into(),
            consequence: None,
            remedy: None,
        }
    }

    /// Something is missing that some pods need.
    pub(super) fn warn(
        subject: &'static str,
        fact: impl Into<String>,
        consequence: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self {
            level: Level::Warn,
            subject,
            fact: fact.into(),
            consequence: Some(consequence),
            remedy: Some(remedy),
        }
    }

    /// No pod can run.
    pub(super) fn fail(
        subject: &'static str,
        fact: impl Into<String>,
        consequence: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(subject, fact, consequence, remedy)
        }
    }

    /// The same, as a fact that needs no remedy.
    pub(super) fn meaning(mut self, consequence: &'static str) -> Self {
        self.consequence = Some(consequence);
        self
    }
}
