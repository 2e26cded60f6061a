//! Routes as JSON: on disk, over HTTP and on the command line the same.
//!
//! ```json
//! {"notes": [36, 59], "channels": [1], "channel_map": {"1": 10}, "transpose": -12}
//! ```
//!
//! What a filter does not name passes as it is. Channels are 1–16 here, as people count them.

use std::collections::BTreeMap;

use midip2p_proto::control::port::PortIdentity;
use midip2p_proto::control::routing::{RouteEnd, RouteSpec};
use midip2p_proto::data::filter::{CONTROLLERS_MAPPED, Filter, Kinds};
use midip2p_proto::id::NodeId;
use serde::{Deserialize, Serialize};

/// The highest controller number that is one: those above are commands for a channel.
const CONTROLLER_MAX: u8 = 119;

/// What a route lets through, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilterJson {
    /// Only these kinds of message: notes, pressure, controllers, programs, bends, sysex, clock, system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// Only these channels, 1 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<u8>>,
    /// Only notes from the first to the second, 0 to 127, before they are transposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<[u8; 2]>,
    /// Semitones up, -127 to 127.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -127, maximum = 127)]
    pub transpose: Option<i8>,
    /// Channels, 1 to 16, that become others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channel_map: BTreeMap<u8, u8>,
    /// Controllers, 0 to 119, that become others; eight at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub controllers: BTreeMap<u8, u8>,
}

/// What a filter cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Not a kind of message.
    #[error("{0:?} is no kind of message; there are {kinds}", kinds = Kinds::ALL)]
    Kind(String),
    /// No channel.
    #[error("{0} is no channel: they are 1 to 16")]
    Channel(u8),
    /// No notes, or the wrong way round.
    #[error("notes are 0 to 127, the lower first, not {0} to {1}")]
    Notes(u8, u8),
    /// Too far.
    #[error("{0} semitones are too many: -127 to 127")]
    Transpose(i8),
    /// No controller.
    #[error(
        "{0} is no controller that can become another, or that another can become: they are 0 to {CONTROLLER_MAX}"
    )]
    Controller(u8),
    /// Too many controllers.
    #[error("{0} controllers are too many for one route: it maps {CONTROLLERS_MAPPED} at most")]
    Controllers(usize),
    /// Nothing passes.
    #[error("nothing would pass: the list of {0} is empty; leave it out to let all through")]
    Nothing(&'static str),
}

impl TryFrom<&FilterJson> for Filter {
    type Error = FilterError;

    fn try_from(json: &FilterJson) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        if let Some(kinds) = &json.kinds {
            filter.kinds = Kinds::NONE;
            for name in kinds {
                let kind = Kinds::named(name).ok_or_else(|| FilterError::Kind(name.clone()))?;
                filter.kinds = filter.kinds | kind;
            }
            if kinds.is_empty() {
                return Err(FilterError::Nothing("kinds"));
            }
        }
        if let Some(channels) = &json.channels {
            filter.channels = 0;
            for channel in channels {
                filter.channels |= 1 << index(*channel)?;
            }
            if channels.is_empty() {
                return Err(FilterError::Nothing("channels"));
            }
        }
        if let Some([low, high]) = json.notes {
            if low > high || high > 127 {
                return Err(FilterError::Notes(low, high));
            }
            filter.notes = (low, high);
        }
        filter.transpose = json.transpose.unwrap_or(0);
        if filter.transpose == i8::MIN {
            return Err(FilterError::Transpose(filter.transpose));
        }
        for (from, to) in &json.channel_map {
            filter.channel_map[usize::from(index(*from)?)] = index(*to)?;
        }
        if json.controllers.len() > CONTROLLERS_MAPPED {
            return Err(FilterError::Controllers(json.controllers.len()));
        }
        for (place, (from, to)) in filter.controllers.iter_mut().zip(&json.controllers) {
            if let Some(number) = [from, to].into_iter().find(|n| **n > CONTROLLER_MAX) {
                return Err(FilterError::Controller(*number));
            }
            *place = Some((*from, *to));
        }
        Ok(filter)
    }
}

/// A channel from 0.
fn index(channel: u8) -> Result<u8, FilterError> {
    match channel {
        1..=16 => Ok(channel - 1),
        _ => Err(FilterError::Channel(channel)),
    }
}

impl From<&Filter> for FilterJson {
    fn from(filter: &Filter) -> Self {
        let kinds = filter.kinds.names().map(str::to_owned).collect();
        let channels = (0..16u8).filter(|n| filter.channels >> n & 1 == 1).map(|n| n + 1).collect();
        let mapped = (1..=16u8).zip(filter.channel_map).filter(|(from, to)| from - 1 != *to);
        Self {
            kinds: Some(kinds).filter(|_| filter.kinds != Kinds::ALL),
            channels: Some(channels).filter(|_| filter.channels != u16::MAX),
            notes: Some([filter.notes.0, filter.notes.1]).filter(|notes| *notes != [0, 127]),
            transpose: Some(filter.transpose).filter(|semitones| *semitones != 0),
            channel_map: mapped.map(|(from, to)| (from, to + 1)).collect(),
            controllers: filter.controllers.iter().flatten().copied().collect(),
        }
    }
}

/// One end of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndJson {
    /// The port's name, with its node's if it is another's.
    pub name: String,
    /// What the port is known by when it comes back.
    pub identity: String,
    /// The id of its node; left out: this node.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<String>,
}

impl From<&RouteEnd> for EndJson {
    fn from(end: &RouteEnd) -> Self {
        let RouteEnd { node, identity, name } = end;
        Self { name: name.clone(), identity: identity.0.clone(), node: node.map(|n| n.to_string()) }
    }
}

impl EndJson {
    /// The end that it says; `None`: its node is no id.
    #[must_use]
    pub fn end(&self) -> Option<RouteEnd> {
        let node = self.node.as_ref().map(|node| node.parse::<NodeId>()).transpose().ok()?;
        let identity = PortIdentity(self.identity.clone());
        Some(RouteEnd { node, identity, name: self.name.clone() })
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteJson {
    /// What it is named by.
    pub id: u32,
    /// Where messages come from.
    pub from: EndJson,
    /// Where they go.
    pub to: EndJson,
    /// Whether it is to be in force.
    pub enabled: bool,
    /// Of several from one source the highest is served first.
    #[schema(maximum = 255)]
    pub priority: u8,
    /// What passes, and as what.
    #[serde(default)]
    pub filter: FilterJson,
}

impl RouteJson {
    /// A route as it is kept.
    #[must_use]
    pub fn of(id: u32, spec: &RouteSpec) -> Self {
        Self {
            id,
            from: EndJson::from(&spec.source),
            to: EndJson::from(&spec.sink),
            enabled: spec.enabled,
            priority: spec.priority,
            filter: FilterJson::from(&spec.filter),
        }
    }

    /// The route that it says.
    ///
    /// # Errors
    /// In words, when it says none.
    pub fn spec(&self) -> Result<RouteSpec, String> {
        let end = |end: &EndJson| {
            let node = end.node.as_deref().unwrap_or_default();
            end.end().ok_or_else(|| format!("route {}: {node:?} is no node", self.id))
        };
        let filter = Filter::try_from(&self.filter)
            .map_err(|error| format!("route {}: {error}", self.id))?;
        let (source, sink) = (end(&self.from)?, end(&self.to)?);
        Ok(RouteSpec { source, sink, filter, priority: self.priority, enabled: self.enabled })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn filter()(
            kinds in prop::sample::subsequence(Kinds::NAMES.to_vec(), 1..=8),
            channels in 1u16..,
            (low, high) in (0u8..128, 0u8..128),
            transpose in -127i8..,
            channel_map in prop::array::uniform16(0u8..16),
            mapped in prop::collection::btree_map(0u8..120, 0u8..120, 0..=CONTROLLERS_MAPPED),
        ) -> Filter {
            let kinds = kinds.iter().fold(Kinds::NONE, |all, (_, kind)| all | *kind);
            let mut controllers = [None; CONTROLLERS_MAPPED];
            controllers.iter_mut().zip(mapped).for_each(|(place, pair)| *place = Some(pair));
            let notes = (low.min(high), low.max(high));
            Filter { kinds, channels, notes, transpose, channel_map, controllers }
        }
    }

    proptest! {
        #[test]
        fn a_filter_is_the_same_after_it_was_written_and_read(filter in filter()) {
            let text = serde_json::to_string(&FilterJson::from(&filter)).unwrap();
            let read: FilterJson = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Filter::try_from(&read), Ok(filter), "{}", text);
        }
    }

    #[test]
    fn what_says_nothing_lets_all_through_and_is_short() {
        let read: FilterJson = serde_json::from_str("{}").unwrap();
        assert_eq!(Filter::try_from(&read), Ok(Filter::default()));
        assert_eq!(serde_json::to_string(&FilterJson::from(&Filter::default())).unwrap(), "{}");
    }

    #[test]
    fn what_no_filter_can_be_is_said() {
        let why = |text: &str| {
            let read: FilterJson = serde_json::from_str(text).unwrap();
            Filter::try_from(&read).unwrap_err().to_string()
        };
        for (text, part) in [
            (r#"{"kinds":["note"]}"#, "notes,pressure,controllers"),
            (r#"{"kinds":[]}"#, "kinds"),
            (r#"{"channels":[0]}"#, "1 to 16"),
            (r#"{"channels":[]}"#, "channels"),
            (r#"{"channels":[17]}"#, "17"),
            (r#"{"notes":[60,59]}"#, "60 to 59"),
            (r#"{"notes":[0,128]}"#, "128"),
            (r#"{"transpose":-128}"#, "-127"),
            (r#"{"channel_map":{"1":0}}"#, "1 to 16"),
            (r#"{"controllers":{"1":120}}"#, "119"),
            (r#"{"controllers":{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1}}"#, "8"),
        ] {
            assert!(why(text).contains(part), "{text}: {}", why(text));
        }
        assert!(serde_json::from_str::<FilterJson>(r#"{"note":[1,2]}"#).is_err());
    }
}
