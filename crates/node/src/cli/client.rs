//! The way to a running node: which one is meant, and its HTTP interface.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::exit::bad_input;
use super::text::escape;
use super::way::{TlsWay, Way};
use crate::os::registry::{self, Entry};
use crate::session::names::closest;

/// A node that does not answer within this is stuck or gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Which node to talk to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct NodeChoice {
    /// The node to talk to: its name, the beginning of its id, HOST:PORT, a URL, or its socket. Needed only when
    /// several nodes run on this machine. One on another machine, or of another user, wants its token in
    /// MIDIP2P_TOKEN; one that speaks https, a copy of its http-cert.pem, named in MIDIP2P_CERT, too
    #[arg(long, value_name = "NODE")]
    pub(super) node: Option<String>,
}

/// How something is given to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    /// Something new.
    Post,
    /// A change.
    Patch,
    /// How it is to be.
    Put,
}

/// A node's HTTP interface.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The node's name, or its address if only that is known; harmless to print.
    pub(super) name: String,
    /// Where its interface is, for people.
    pub(super) place: String,
    /// How it is reached.
    pub(super) way: Way,
    /// What it wants to see of whoever comes by the network.
    token: Option<String>,
    agent: ureq::Agent,
}

impl Client {
    /// The node that is meant.
    pub(super) fn find(choice: &NodeChoice) -> anyhow::Result<Self> {
        let here = registry::network();
        let nodes: Vec<Entry> =
            registry::list().into_iter().filter(|entry| entry.network == here).collect();
        let own = |entry: &Entry, name: &str| {
            Self::by(name, entry.http.to_string(), Way::Own(registry::socket_of(entry)))
        };
        match choose(&nodes, choice.node.as_deref())? {
            Chosen::Entry(entry) => Ok(own(&entry, &entry.name)),
            Chosen::Socket(path) => {
                let place = path.to_string_lossy().into_owned();
                Ok(Self::by(&place, escape(&place), Way::Own(path)))
            }
            Chosen::Address { host, tls } => {
                let address = resolve(&host)?;
                match nodes.iter().find(|entry| entry.http == address) {
                    Some(entry) => Ok(own(entry, &host)),
                    None if tls => Ok(Self::by(&host, host.clone(), Way::Tls(address, pinned()?))),
                    None => {
                        let client = Self::by(&host, address.to_string(), Way::Network(address));
                        if client.token.is_some() && !address.ip().is_loopback() {
                            eprintln!(
                                "warning: the token goes to {host} in the clear; start the node with --http-tls, and \
                                 name it as https://{host}"
                            );
                        }
                        Ok(client)
                    }
                }
            }
        }
    }

    /// The node that is reached that way; `place` is what people call it.
    pub(super) fn by(name: &str, place: String, way: Way) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            .http_status_as_error(false)
            // The node is near; a proxy for the web knows nothing of it.
            .proxy(None)
            .build();
        // One that is reached by its user's socket is shown no token that is another's.
        let token = std::env::var("MIDIP2P_TOKEN").ok();
        let token = token.filter(|_| !matches!(way, Way::Own(_)));
        let agent = ureq::Agent::with_parts(config, way.clone(), Nowhere);
        Self { name: escape(name), place, way, token, agent }
    }

    /// The address of something on it. It is reached without it, but its interface wants to be named.
    pub(super) fn url(&self, path: &str) -> String {
        match &self.way {
            Way::Own(_) => format!("http://localhost{path}"),
            // Whoever speaks TLS does so by itself.
            Way::Network(at) | Way::Tls(at, _) => format!("http://{at}{path}"),
        }
    }

    /// The same for people.
    fn shown(&self, path: &str) -> String {
        format!("{}://{}{path}", self.way.scheme(), self.place)
    }

    /// The header that shows the token, if one is to be shown.
    pub(super) fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {}", token.trim()))
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match self.authorization() {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// What the node says at `path`.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (url, shown) = (self.url(path), self.shown(path));
        let mut response = self
            .authorized(self.agent.get(&url))
            .call()
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let value: Value = response.body_mut().read_json().with_context(|| {
            format!("{shown} answered {status}, but not with JSON; is it a node?")
        })?;
        if !status.is_success() {
            bail!("{shown} answered {status}: {}", why(&value));
        }
        Ok(value)
    }

    /// Asks the node to do something that has an answer: its status and what it said.
    pub(super) fn ask(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        let (url, shown) = (self.url(path), self.shown(path));
        let mut response = self
            .authorized(self.agent.post(&url))
            .send_empty()
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let value: Value = response.body_mut().read_json().with_context(|| {
            format!("{shown} answered {status}, but not with JSON; is it a node of this version?")
        })?;
        Ok((status.as_u16(), value))
    }

    /// Has the node decide something, and says in its own words why it did not.
    pub(super) fn decide(&self, method: &str, path: &str) -> anyhow::Result<()> {
        let (url, shown) = (self.url(path), self.shown(path));
        let sent = match method {
            "DELETE" => self.authorized(self.agent.delete(&url)).call(),
            _ => self.authorized(self.agent.post(&url)).send_empty(),
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(());
        }
        let answer: Option<Value> = response.body_mut().read_json().ok();
        match answer.as_ref().and_then(detail) {
            Some(said) => bail!("{}", escape(said)),
            None => bail!("{shown} answered {}; is it a node of this version?", response.status()),
        }
    }

    /// Gives the node something in JSON, and says in its own words why it did not take it.
    pub(super) fn give(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (url, shown) = (self.url(path), self.shown(path));
        let sent = match method {
            Method::Post => self.authorized(self.agent.post(&url)).send_json(body),
            Method::Patch => self.authorized(self.agent.patch(&url)).send_json(body),
            Method::Put => self.authorized(self.agent.put(&url)).send_json(body),
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let value: Value = response.body_mut().read_json().with_context(|| {
            format!("{shown} answered {status}, but not with JSON; is it a node of this version?")
        })?;
        if status.is_success() {
            return Ok(value);
        }
        let said = why(&value);
        // What was asked for cannot be: with the same words it will not be next time.
        match status.as_u16() {
            400 | 404 | 409 | 415 | 422 => Err(bad_input(said)),
            _ => bail!("{said}"),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        anyhow!(
            "no node answers at {}: {error}; start one with `midip2p up`, or name another with --node \
             (one that speaks TLS as https://HOST:PORT)",
            self.place
        )
    }
}

/// What a node said was wrong: the `detail` of a problem document.
pub(super) fn detail(problem: &Value) -> Option<&str> {
    problem.get("detail").and_then(Value::as_str)
}

/// The same, harmless to print, or that nothing was said.
pub(super) fn why(problem: &Value) -> String {
    escape(detail(problem).unwrap_or("no reason given"))
}

/// Nothing is looked up: the way is known.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// TLS with a node whose certificate somebody copied.
fn pinned() -> anyhow::Result<TlsWay> {
    let path = std::env::var_os("MIDIP2P_CERT").map(PathBuf::from).ok_or_else(|| {
        bad_input(
            "to know that node by https its certificate is needed: copy http-cert.pem from its state directory, \
             and name the copy in MIDIP2P_CERT",
        )
    })?;
    TlsWay::to(&path)
}

#[derive(Debug, PartialEq, Eq)]
enum Chosen {
    Entry(Entry),
    Socket(PathBuf),
    Address { host: String, tls: bool },
}

/// Which of the running nodes is meant, or where else to look.
fn choose(nodes: &[Entry], asked: Option<&str>) -> anyhow::Result<Chosen> {
    let Some(asked) = asked.map(str::trim) else {
        return match nodes {
            [one] => Ok(Chosen::Entry(one.clone())),
            [] => Err(anyhow!(
                "no node runs on this machine; start one with `midip2p up`, \
                 or name one elsewhere with --node HOST:PORT"
            )),
            several => Err(bad_input(format!(
                "{} nodes run on this machine; say which with --node: {}",
                several.len(),
                list(several)
            ))),
        };
    };
    let lower = asked.to_lowercase();
    let named: Vec<Entry> =
        nodes.iter().filter(|n| n.name.to_lowercase() == lower).cloned().collect();
    let by_id: Vec<Entry> = nodes
        .iter()
        .filter(|n| lower.len() >= 4 && n.id.to_lowercase().starts_with(&lower))
        .cloned()
        .collect();
    for found in [named, by_id] {
        match found.as_slice() {
            [] => {}
            [one] => return Ok(Chosen::Entry(one.clone())),
            several => {
                let several = list(several);
                return Err(bad_input(format!(
                    "several nodes are called {asked:?}; say which by its id: {several}"
                )));
            }
        }
    }
    if Path::new(asked).is_absolute() {
        return Ok(Chosen::Socket(PathBuf::from(asked)));
    }
    match address_in(asked) {
        Some((host, tls)) => Ok(Chosen::Address { host, tls }),
        None => Err(bad_input(no_such_node(nodes, asked))),
    }
}

fn no_such_node(nodes: &[Entry], asked: &str) -> String {
    let near = closest(nodes.iter().map(|n| n.name.as_str()), asked);
    match (near.first(), nodes) {
        (Some(near), _) => {
            format!("no node {asked:?} runs on this machine; did you mean {near:?}?")
        }
        (None, []) => format!(
            "no node {asked:?}: none runs on this machine. Start one with `midip2p up`, \
             or name one elsewhere as HOST:PORT"
        ),
        (None, nodes) => format!(
            "no node {asked:?} runs on this machine; there is {}. One elsewhere is named as HOST:PORT",
            list(nodes)
        ),
    }
}

fn list(nodes: &[Entry]) -> String {
    let named: Vec<String> = nodes
        .iter()
        .map(|n| format!("{:?} ({}, {})", n.name, n.id.get(..8).unwrap_or(&n.id), n.http))
        .collect();
    named.join(", ")
}

/// The HOST:PORT in a URL, or the text itself if it is one; and whether it speaks TLS.
fn address_in(text: &str) -> Option<(String, bool)> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (tls, usual) = match scheme.to_lowercase().as_str() {
        "http" | "ws" => (false, Some(80)),
        "https" | "wss" => (true, Some(443)),
        "" => (false, None),
        _ => return None,
    };
    let address = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match address.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')) {
        Some((host, port)) => (host, port.parse::<u16>().ok()?),
        // A URL may leave its port out.
        None => (address, usual?),
    };
    (!host.is_empty() && !host.contains(char::is_whitespace))
        .then(|| (format!("{host}:{port}"), tls))
}

fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let mut found = address
        .to_socket_addrs()
        .map_err(|error| bad_input(format!("{address} has no address: {error}; check its name")))?;
    // A node listens on 127.0.0.1 unless told otherwise, and "localhost" may give ::1 first.
    let all: Vec<SocketAddr> = found.by_ref().collect();
    all.iter()
        .find(|a| a.is_ipv4())
        .or_else(|| all.first())
        .copied()
        .ok_or_else(|| bad_input(format!("{address} has no address; check its name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, id: &str) -> Entry {
        Entry {
            pid: 1,
            id: id.repeat(8),
            name: name.to_owned(),
            http: "127.0.0.1:8080".parse().unwrap(),
            tcp: 5005,
            address: [127, 0, 0, 1].into(),
            network: 0,
        }
    }

    fn said(nodes: &[Entry], asked: Option<&str>) -> String {
        choose(nodes, asked).unwrap_err().to_string()
    }

    #[test]
    fn the_only_node_is_meant_unless_another_is_named() {
        let one = [entry("studio", "ab12cd34")];
        for asked in [None, Some("studio"), Some("STUDIO"), Some("ab12"), Some("AB12cd34ab")] {
            assert_eq!(choose(&one, asked).unwrap(), Chosen::Entry(one[0].clone()), "{asked:?}");
        }
        assert!(said(&[], None).contains("midip2p up"));
        assert!(said(&one, Some("stduio")).contains("did you mean \"studio\""));
        assert!(said(&one, Some("xyzzy")).contains("there is \"studio\""));
        // Three digits are too few to be an id.
        assert!(choose(&one, Some("ab1")).is_err());
    }

    #[test]
    fn several_nodes_are_named_and_twins_told_apart() {
        let mut two = [entry("stage", "aaaa0000"), entry("booth", "bbbb0000")];
        let error = said(&two, None);
        assert!(["--node", "stage", "aaaa0000", "booth"].iter().all(|w| error.contains(w)));
        two[1].name = "Stage".to_owned();
        let error = said(&two, Some("stage"));
        assert!(error.contains("aaaa0000") && error.contains("bbbb0000"), "{error}");
        assert_eq!(choose(&two, Some("bbbb")).unwrap(), Chosen::Entry(two[1].clone()));
    }

    #[test]
    fn addresses_are_known_by_their_port() {
        for (text, want) in [
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("studio.local:1", Some("studio.local:1")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("http://host:8080/", Some("host:8080")),
            ("ws://host:8080/ws?name=x", Some("host:8080")),
            ("http://host", Some("host:80")),
            ("ftp://host:1", None),
            ("studio", None),
            ("studio:keys", None),
            (":8080", None),
            ("my studio:80", None),
            ("host:99999", None),
        ] {
            let found = address_in(text);
            assert_eq!(found, want.map(|want: &str| (want.to_owned(), false)), "{text}");
        }
        for (text, want) in [("https://host:1/x", "host:1"), ("wss://[::1]", "[::1]:443")] {
            assert_eq!(address_in(text), Some((want.to_owned(), true)), "{text}");
        }
    }
}
