//! What a session remembers from call to call.

use std::collections::HashMap;

use serde_json::Value;

use super::json::Object;

/// The tools that make a team, and those that end one.
const MAKE_TEAM: &[&str] = &["TeamCreate", "spawn_team"];
const END_TEAM: &[&str] = &["TeamDelete", "dissolve_team"];
const READ: &str = "read_messages";
/// With it a read is a look at a message that was read before.
const PAGE: &str = "message_id";

/// Whether an argument says something.
fn says(arguments: &Object, name: &str) -> bool {
    let said = arguments.get(name);
    said.is_some_and(|said| !said.is_null() && *said != "")
}

/// What a session remembers.
#[derive(Debug, Default)]
pub struct Session {
    /// The team that it made and speaks in since.
    team: Option<String>,
    /// What was read of each team's mail, and is acknowledged by the next read.
    read: HashMap<Option<String>, Value>,
}

impl Session {
    /// The team that the session speaks in, where that isn't the configured one.
    pub fn team(&self) -> Option<&str> {
        self.team.as_deref()
    }

    /// Adds to the arguments of a call what the model needn't say: the `ack` of its last read.
    pub fn complete(&self, tool: &str, arguments: &mut Object) {
        if tool != READ || says(arguments, "ack") || says(arguments, PAGE) {
            return;
        }
        if let Some(ack) = self.read.get(&self.team_of(arguments)) {
            arguments.insert("ack".to_owned(), ack.clone());
        }
    }

    /// Takes in what a call came to, that the client hears of.
    pub fn heard(&mut self, tool: &str, arguments: &Object, result: &Object) {
        let team = result.get("team_name").and_then(Value::as_str);
        if MAKE_TEAM.contains(&tool) {
            self.team = team.map(ToOwned::to_owned);
        } else if END_TEAM.contains(&tool) && self.team.as_deref() == team {
            self.team = None;
        } else if tool == READ && !says(arguments, PAGE) {
            let team = self.team_of(arguments);
            match result.get("ack") {
                Some(ack) if *ack != "" => drop(self.read.insert(team, ack.clone())),
                _ => drop(self.read.remove(&team)),
            }
        }
    }

    /// The team that a call is about; none for the configured one.
    pub fn team_of(&self, arguments: &Object) -> Option<String> {
        let named = arguments.get("team_name").and_then(Value::as_str);
        let named = named.filter(|name| !name.is_empty());
        named.or(self.team()).map(ToOwned::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn read(session: &Session, arguments: Value) -> Value {
        let mut arguments = object(arguments);
        session.complete(READ, &mut arguments);
        arguments.into()
    }

    #[test]
    fn session_speaks_in_the_team_that_it_made_until_that_ends() {
        let none = Object::new();
        let mut session = Session::default();
        assert_eq!(session.team(), None);

        session.heard("TeamCreate", &none, &object(json!({"team_name": "red"})));
        assert_eq!(session.team(), Some("red"));
        session.heard("spawn_team", &none, &object(json!({"team_name": "blue"})));
        assert_eq!(session.team(), Some("blue"));

        // Another one ends.
        session.heard("dissolve_team", &none, &object(json!({"team_name": "red"})));
        assert_eq!(session.team(), Some("blue"));
        session.heard("TeamDelete", &none, &object(json!({"team_name": "blue"})));
        assert_eq!(session.team(), None);
    }

    #[test]
    fn each_read_acknowledges_what_the_one_before_answered() {
        let none = Object::new();
        let mut session = Session::default();
        assert_eq!(read(&session, json!({})), json!({}));

        session.heard(READ, &none, &object(json!({"ack": "1-3"})));
        for empty in [json!(null), json!("")] {
            assert_eq!(read(&session, json!({"ack": empty})), json!({"ack": "1-3"}));
        }
        // What the model says itself goes first; another team's mail is another matter.
        assert_eq!(read(&session, json!({"ack": "2"})), json!({"ack": "2"}));
        let elsewhere = json!({"team_name": "red"});
        assert_eq!(read(&session, elsewhere.clone()), elsewhere);

        session.heard(READ, &none, &object(json!({"ack": ""})));
        assert_eq!(read(&session, json!({})), json!({}));
    }

    #[test]
    fn page_of_a_message_acknowledges_nothing() {
        let mut session = Session::default();
        session.heard(READ, &Object::new(), &object(json!({"ack": "1-3"})));

        let page = json!({"message_id": "3", "offset": 10});
        assert_eq!(read(&session, page.clone()), page);
        session.heard(READ, &object(page), &object(json!({"text": "…"})));

        assert_eq!(read(&session, json!({})), json!({"ack": "1-3"}));
    }

    #[test]
    fn only_read_messages_is_completed() {
        let mut session = Session::default();
        session.heard(READ, &Object::new(), &object(json!({"ack": "1"})));

        let mut arguments = Object::new();
        session.complete("TaskList", &mut arguments);

        assert_eq!(arguments, Object::new());
    }
}
