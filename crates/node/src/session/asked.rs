//! What a program asks for: the keys of a query, or those of the word `open`.

use midip2p_proto::control::bus::{PortView, Wish};
use midip2p_proto::control::port::Direction;
use serde_json::{Map, Value};

use super::names::{NotFound, closest, resolve};

/// The keys there are.
const KEYS: [&str; 6] = ["name", "source", "destination", "exported", "to", "from"];

/// Characters of a port's name.
const NAME_CHARS: usize = 64;

/// What a program asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) name: String,
    pub(super) source: bool,
    pub(super) destination: bool,
    pub(super) exported: bool,
    pub(super) to: Vec<Wish>,
    pub(super) from: Vec<Wish>,
}

impl Asked {
    /// What keys and values ask for, among the ports there are.
    ///
    /// # Errors
    /// When a key is unknown, or names a port that is not there.
    pub(crate) fn of_query(
        ports: &[PortView],
        query: &[(String, String)],
    ) -> Result<Self, NotFound> {
        let mut asked = Self::nothing();
        for (key, value) in query {
            asked.take(ports, key, value)?;
        }
        Ok(asked)
    }

    /// The same for a word: `{"command":"open","name":"Robot","source":true,"to":["Synth"]}`.
    ///
    /// # Errors
    /// As [`Self::of_query`]; and when a value is neither a text, nor `true` or `false`, nor a list of texts.
    pub(super) fn of_word(ports: &[PortView], word: &Map<String, Value>) -> Result<Self, NotFound> {
        let mut asked = Self::nothing();
        for (key, value) in word.iter().filter(|(key, _)| *key != "command") {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => core::slice::from_ref(value),
            };
            for value in values {
                match value {
                    Value::String(text) => asked.take(ports, key, text)?,
                    Value::Bool(true) => asked.take(ports, key, "true")?,
                    Value::Bool(false) => asked.take(ports, key, "false")?,
                    _ => {
                        let what = "a text, true or false, or a list of texts";
                        let error = format!("the value of {key:?} must be {what}");
                        return Err(NotFound { error, closest: Vec::new() });
                    }
                }
            }
        }
        Ok(asked)
    }

    fn nothing() -> Self {
        Self {
            name: "app".to_owned(),
            source: false,
            destination: false,
            exported: false,
            to: Vec::new(),
            from: Vec::new(),
        }
    }

    fn take(&mut self, ports: &[PortView], key: &str, value: &str) -> Result<(), NotFound> {
        let flag = matches!(value, "true" | "1" | "");
        match key {
            "name" => {
                self.name = value.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
            }
            "source" => self.source = flag,
            "destination" => self.destination = flag,
            "exported" => self.exported = flag,
            "to" => {
                self.source = true;
                self.to.push(resolve(ports, value, Direction::Destination)?);
            }
            "from" => {
                self.destination = true;
                self.from.push(match value {
                    "*" => Wish::All,
                    name => resolve(ports, name, Direction::Source)?,
                });
            }
            other => {
                return Err(NotFound {
                    error: format!("unknown key {other:?}; there are {}", KEYS.join(", ")),
                    closest: closest(KEYS.into_iter(), other),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Result<Asked, NotFound> {
        Asked::of_word(&[], serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())
    }

    #[test]
    fn a_word_and_a_query_ask_for_the_same() {
        let pairs = [("name", "Ro\nbot"), ("source", "true"), ("exported", "1"), ("from", "*")];
        let query: Vec<_> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let by_query = Asked::of_query(&[], &query).unwrap();
        let by_word = word(
            r#"{"command":"open","name":"Ro\nbot","source":true,"exported":true,"from":["*"]}"#,
        );
        assert_eq!(format!("{by_query:?}"), format!("{:?}", by_word.unwrap()));
        assert_eq!((by_query.name.as_str(), by_query.destination), ("Robot", true));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_there_is() {
        let unknown = word(r#"{"command":"open","sources":true}"#).unwrap_err();
        assert!(unknown.error.contains("exported") && unknown.error.contains("\"sources\""));
        assert_eq!(unknown.closest.first().map(String::as_str), Some("source"));
        let error = word(r#"{"name":7}"#).unwrap_err().error;
        assert!(error.contains("\"name\""), "{error}");
        assert!(word(r#"{"to":"Synth"}"#).unwrap_err().error.contains("Synth"));
    }
}
