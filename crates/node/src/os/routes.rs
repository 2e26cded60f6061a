//! The routes that people made on disk: `routes.json` in the state directory.
//!
//! ```json
//! {"newest": 7, "routes": [{"id": 7, "from": {…}, "to": {…}, "enabled": true, "priority": 0, "filter": {…}}]}
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use midip2p_proto::control::routing::{RouteId, RouteSpec};
use serde::{Deserialize, Serialize};

use super::{private, state};
use crate::routing::RouteJson;

/// Longer than any list that is written.
const FILE_MAX: u64 = 1024 * 1024;

/// The routes, and the newest number that one was given.
pub type Routes = (u32, Vec<(RouteId, RouteSpec)>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    newest: u32,
    routes: Vec<RouteJson>,
}

/// What the file says; no routes, when there is none.
///
/// # Errors
/// When it cannot be read, or is no such list.
pub fn load(path: &Path) -> io::Result<Routes> {
    let file = match private::open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((0, Vec::new())),
        Err(error) => return Err(error),
    };
    let bad = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    let mut text = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(bad("it is too long".to_owned()));
    }
    let document: Document =
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let one = |route: &RouteJson| Ok((RouteId(route.id), route.spec().map_err(bad)?));
    Ok((document.newest, document.routes.iter().map(one).collect::<io::Result<_>>()?))
}

/// What the file says; one that cannot be understood is put aside, for its owner to look at, and the node runs without.
#[must_use]
pub fn load_or_put_aside(path: &Path) -> Routes {
    let error = match load(path) {
        Ok(routes) => return routes,
        Err(error) => error,
    };
    let aside = aside(path);
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            "the routes in {} cannot be read ({error}): it is now {}, and there are none",
            path.display(),
            aside.display()
        ),
        Err(_) => tracing::warn!("the routes in {} cannot be read: {error}", path.display()),
    }
    (0, Vec::new())
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("json.bad")
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
        assert_eq!(load(&path).unwrap(), (0, vec![]));
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
        assert_eq!(load(&path).unwrap(), routes);
    }

    #[test]
    fn what_is_no_such_list_is_put_aside_and_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        let end = r#"{"name":"x","identity":"y"}"#;
        let route = |filter: &str, more: &str| {
            let ends = format!(r#""from":{end},"to":{end}"#);
            let rest = format!(r#""enabled":true,"priority":0,"filter":{filter}{more}"#);
            format!(r#"{{"newest":1,"routes":[{{"id":1,{ends},{rest}}}]}}"#)
        };
        fs::write(&path, route("{}", "")).unwrap();
        assert_eq!(load(&path).unwrap().1.len(), 1);
        let bad = [
            String::new(),
            "[]".to_owned(),
            route(r#"{"channels":[99]}"#, ""),
            route("{}", r#","colour":1"#),
        ];
        for bad in bad {
            fs::write(&path, &bad).unwrap();
            assert!(load(&path).is_err(), "{bad}");
            assert_eq!(load_or_put_aside(&path), (0, vec![]));
            assert_eq!(fs::read_to_string(aside(&path)).unwrap(), bad);
            assert!(!path.exists());
        }
    }
}
