//! The routes that people made on disk: `routes.json` in the state directory.
//!
//! ```json
//! {"newest": 7, "routes": [{"id": 7, "from": {…}, "to": {…}, "enabled": true, "priority": 0, "filter": {…}}]}
//! ```

use std::io;
use std::path::Path;

use midip2p_proto::control::routing::{RouteId, RouteSpec};
use serde::{Deserialize, Serialize};

use super::state;
use crate::routing::RouteJson;

/// The routes, and the newest number that one was given.
pub type Routes = (u32, Vec<(RouteId, RouteSpec)>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    newest: u32,
    routes: Vec<RouteJson>,
}

/// The routes that a file says.
///
/// # Errors
/// In words, when it is no such list.
pub fn parse(text: &[u8]) -> Result<Routes, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let one = |route: &RouteJson| Ok((RouteId(route.id), route.spec()?));
    Ok((document.newest, document.routes.iter().map(one).collect::<Result<_, String>>()?))
}

/// Writes the list.
///
/// # Errors
/// When the system refuses; the file is as it was.
pub fn save(path: &Path, (newest, routes): &Routes) -> io::Result<()> {
    let routes = routes.iter().map(|(id, spec)| RouteJson::of(id.0, spec)).collect();
    let mut text = serde_json::to_vec_pretty(&Document { newest: *newest, routes })?;
    text.push(b'\n');
    state::replace(path, &text)
}

#[cfg(test)]
mod tests {
    use midip2p_proto::config::TAPS_MAX;
    use midip2p_proto::control::port::PortIdentity;
    use midip2p_proto::control::routing::RouteEnd;
    use midip2p_proto::data::filter::Filter;
    use midip2p_proto::id::NodeId;
    use midip2p_proto::wire::devices::{IDENTITY_MAX, NAME_MAX};

    use super::super::kept;
    use super::*;

    fn end(node: Option<u8>, length: (usize, usize)) -> RouteEnd {
        let node = node.map(|n| NodeId([n; 32]));
        let identity = PortIdentity("\u{1}".repeat(length.0));
        RouteEnd { node, identity, name: "\u{1}".repeat(length.1) }
    }

    #[test]
    fn what_was_written_is_read_again_however_much_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        let spec = |n: u32| {
            let longest = (IDENTITY_MAX, 2 * NAME_MAX + 3);
            let (source, sink) = (end(None, longest), end(Some(3), longest));
            let transpose = i8::try_from(n % 100).unwrap();
            let filter = Filter { transpose, ..Filter::default() };
            RouteSpec { source, sink, filter, priority: 9, enabled: n.is_multiple_of(2) }
        };
        let all = (1..=u32::try_from(TAPS_MAX).unwrap()).map(|n| (RouteId(n), spec(n))).collect();
        let routes = (999, all);
        save(&path, &routes).unwrap();
        assert_eq!(kept::read(&path, parse).unwrap(), routes);
    }

    #[test]
    fn what_is_no_such_list_is_none() {
        let end = r#"{"name":"x","identity":"y"}"#;
        let route = |filter: &str, more: &str| {
            let ends = format!(r#""from":{end},"to":{end}"#);
            let rest = format!(r#""enabled":true,"priority":0,"filter":{filter}{more}"#);
            format!(r#"{{"newest":1,"routes":[{{"id":1,{ends},{rest}}}]}}"#)
        };
        assert_eq!(parse(route("{}", "").as_bytes()).unwrap().1.len(), 1);
        let bad = [
            String::new(),
            "[]".to_owned(),
            route(r#"{"channels":[99]}"#, ""),
            route("{}", r#","colour":1"#),
        ];
        for bad in bad {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
