//! Who hears whom: the routing table of the data plane.
//!
//! Sorted by source, of fixed capacity: a lookup is a binary search, a change moves memory and never
//! allocates. The control plane decides what stands in it.

use crate::bridge::{Endpoint, Route};
use crate::config::ROUTES_MAX;

/// The table. Each route at most once.
#[derive(Debug)]
pub struct Routes {
    sorted: Vec<Route>,
}

impl Default for Routes {
    fn default() -> Self {
        Self { sorted: Vec::with_capacity(ROUTES_MAX) }
    }
}

/// The table is full: [`ROUTES_MAX`] routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutesFull;

impl Routes {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        vec![self.sorted.capacity()]
    }

    /// Adds a route; adding it again changes nothing.
    ///
    /// # Errors
    /// When the table is full: the new route is refused.
    ///
    /// Realtime-safe: yes
    pub fn add(&mut self, route: Route) -> Result<(), RoutesFull> {
        match self.sorted.binary_search(&route) {
            Ok(_) => Ok(()),
            Err(_) if self.sorted.len() >= ROUTES_MAX => Err(RoutesFull),
            Err(at) => {
                self.sorted.insert(at, route);
                Ok(())
            }
        }
    }

    /// Removes a route; says whether it was there.
    ///
    /// Realtime-safe: yes
    pub fn remove(&mut self, route: Route) -> bool {
        match self.sorted.binary_search(&route) {
            Ok(at) => {
                self.sorted.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Keeps only the routes of which `keep` says so.
    ///
    /// Realtime-safe: yes
    pub fn retain(&mut self, keep: impl FnMut(&Route) -> bool) {
        self.sorted.retain(keep);
    }

    /// Where messages of `source` go.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn sinks(&self, source: Endpoint) -> &[Route] {
        let start = self.sorted.partition_point(|r| r.source < source);
        let rest = &self.sorted[start..];
        let count = rest.partition_point(|r| r.source == source);
        &rest[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LinkNo, PortId};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn route(n: u16) -> Route {
        Route {
            source: Endpoint::remote(LinkNo(n & 1), PortId(n >> 1 & 3)),
            sink: Endpoint::local(PortId(n >> 3 & 3)),
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(ops in prop::collection::vec((any::<bool>(), 0u16..32), 0..200)) {
            let (mut table, mut model) = (Routes::default(), BTreeSet::new());
            for (add, n) in ops {
                if add {
                    table.add(route(n)).unwrap();
                    model.insert(route(n));
                } else {
                    assert_eq!(table.remove(route(n)), model.remove(&route(n)));
                }
                for n in 0..8 {
                    let source = route(n).source;
                    let want: Vec<_> =
                        model.iter().filter(|r| r.source == source).copied().collect();
                    assert_eq!(table.sinks(source), want);
                }
            }
        }
    }

    #[test]
    fn a_full_table_refuses_and_says_so() {
        let mut table = Routes::default();
        for n in 0..ROUTES_MAX {
            let port = PortId(u16::try_from(n).unwrap());
            let r = Route { source: Endpoint::local(port), sink: Endpoint::local(port) };
            table.add(r).unwrap();
        }
        let one_more =
            Route { source: Endpoint::local(PortId(0)), sink: Endpoint::local(PortId(9)) };
        assert_eq!(table.add(one_more), Err(RoutesFull));
        assert_eq!(table.sinks(one_more.source).len(), 1);
    }
}
