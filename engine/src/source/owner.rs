//! Names of users and groups, from the text of the system's tables. The text is handed in: the engine reads no `/etc`.

use std::collections::HashMap;

/// Longest name that is taken, in bytes; the system's own tools make none above 32.
const LONGEST_NAME: usize = 256;

/// Names by number, and numbers by name. Where one stands twice, its first line counts, as in the system's own look-up.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: Table,
    groups: Table,
}

#[derive(Clone, Debug, Default)]
struct Table {
    names: HashMap<u32, String>,
    numbers: HashMap<String, u32>,
}

impl Owners {
    /// Reads the texts of `/etc/passwd` and `/etc/group`; lines that are none of theirs are passed over.
    #[must_use]
    pub fn parse(passwd: &str, group: &str) -> Self {
        Self { users: table(passwd), groups: table(group) }
    }

    /// The name of a user.
    #[must_use]
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.names.get(&uid).map(String::as_str)
    }

    /// The number of a user.
    #[must_use]
    pub fn user_number(&self, name: &str) -> Option<u32> {
        self.users.numbers.get(name).copied()
    }

    /// The number of a group.
    #[must_use]
    pub fn group_number(&self, name: &str) -> Option<u32> {
        self.groups.numbers.get(name).copied()
    }

    /// The name of a group.
    #[must_use]
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.names.get(&gid).map(String::as_str)
    }
}

/// Both tables have the name in the first field and the number in the third.
fn table(text: &str) -> Table {
    let mut table = Table::default();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(_), Some(Ok(number))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        else {
            continue;
        };
        if !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with(['#', '+', '-']) {
            table.names.entry(number).or_insert_with(|| name.to_owned());
            table.numbers.entry(name.to_owned()).or_insert(number);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number_and_the_first_line_counts() {
        let owners = Owners::parse(
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\ntoor:x:0:0::/:\n",
            "root:x:0:\nusers:x:100:ann,bob\n",
        );
        assert_eq!((owners.user(0), owners.user(1000), owners.user(1)), (Some("root"), Some("ann"), None));
        assert_eq!((owners.group(100), owners.group(1000)), (Some("users"), None));
    }

    #[test]
    fn lines_of_another_form_are_passed_over() {
        let long = "n".repeat(257);
        let table = format!(
            "\n#a:x:1:\n+::2:\n-b:x:3:\n:x:4:\nc:x:\nd\ne:x:-1:\nf:x:99999999999:\n{long}:x:5:\ng:x:6"
        );
        let owners = Owners::parse(&table, "");
        assert!((1..6).all(|uid| owners.user(uid).is_none()));
        assert_eq!(owners.user(6), Some("g"));
    }
}
