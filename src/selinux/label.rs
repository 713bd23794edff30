//! A label: `user:role:type:level`. Pure.

use std::fmt;

use super::error::SelinuxError;

/// A label, in its parts. The level has colons of its own: `s0:c1,c2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// User of SELinux, not of the system.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type.
    pub type_: String,
    /// Sensitivity, and categories after a colon; empty on a policy without levels.
    pub level: String,
}

/// Parts of a label, as CRI `SELinuxOption` has them; an empty one is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts<'a> {
    /// User.
    pub user: &'a str,
    /// Role.
    pub role: &'a str,
    /// Type.
    pub type_: &'a str,
    /// Level.
    pub level: &'a str,
}

impl Label {
    /// Reads one; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (user, role, type_) = (next()?, next()?, next()?);
        Some(Self {
            user: user.to_owned(),
            role: role.to_owned(),
            type_: type_.to_owned(),
            level: next().unwrap_or_default().to_owned(),
        })
    }

    /// The sensitivity alone, without categories: `s0`.
    #[must_use]
    pub fn sensitivity(&self) -> &str {
        self.level.split(':').next().unwrap_or_default()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user, role, type_, ..
        } = self;
        match self.level.as_str() {
            "" => write!(formatter, "{user}:{role}:{type_}"),
            level => write!(formatter, "{user}:{role}:{type_}:{level}"),
        }
    }
}

impl<'a> Parts<'a> {
    /// Is nothing asked for?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, and what they leave open of others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        let first = |one: &'a str, other: &'a str| if one.is_empty() { other } else { one };
        Self {
            user: first(self.user, others.user),
            role: first(self.role, others.role),
            type_: first(self.type_, others.type_),
            level: first(self.level, others.level),
        }
    }

    /// Refuses what would not stay one part: a label is written into options of mounts, too.
    ///
    /// # Errors
    ///
    /// `Part`.
    pub fn check(&self) -> Result<(), SelinuxError> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        let is_level = |letter: char| letter.is_ascii_alphanumeric() || ":,.-".contains(letter);
        for (part, value) in [
            ("user", self.user),
            ("role", self.role),
            ("type", self.type_),
        ] {
            if !value.chars().all(is_name) {
                let value = value.to_owned();
                return Err(SelinuxError::Part { part, value });
            }
        }
        let level = self.level;
        let begins = level.is_empty()
            || level
                .strip_prefix('s')
                .is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
        if begins && level.chars().all(is_level) {
            return Ok(());
        }
        Err(SelinuxError::Part {
            part: "level",
            value: level.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_is_written() {
        for text in [
            "system_u:system_r:container_t:s0:c1,c2",
            "system_u:object_r:container_file_t:s0-s15:c0.c1023",
            "user:role:type",
        ] {
            assert_eq!(Label::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "kernel", "user:role", "user::type", "::::"] {
            assert_eq!(Label::parse(text), None, "{text:?}");
        }
        let label = Label::parse("u:r:t:s0:c1").unwrap();
        assert_eq!((label.level.as_str(), label.sensitivity()), ("s0:c1", "s0"));
    }

    #[test]
    fn what_would_not_stay_one_part_is_refused() {
        let user = |user| Parts {
            user,
            ..Parts::default()
        };
        let level = |level| Parts {
            level,
            ..Parts::default()
        };
        for fine in [
            user("system_u"),
            level("s0:c1,c2"),
            level("s0-s15:c0.c1023"),
            Parts::default(),
        ] {
            assert!(fine.check().is_ok(), "{fine:?}");
        }
        for wrong in [
            user("a:b"),
            user("a\"b"),
            user("a,b"),
            user("a b"),
            user("a\0"),
            level("c1,c2"),
            level("s0\",ro"),
            level("s"),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
