//! Nodes find each other, lose each other, and come back.

use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::seeds;
use midip2p_sim::world::World;

#[test]
fn two_nodes_link_whoever_dials() -> Result<(), String> {
    seeds::each(|seed| {
        let mut w = World::new(Path::wifi_lossy(), seed);
        let (a, b) = (w.host("mac"), w.host("pc"));
        if seed % 3 != 1 {
            w.find(a, b);
        }
        if seed % 3 != 2 {
            w.find(b, a);
        }
        w.run_until(Span::from_s(2), "a link", |w| w.linked(a, b))?;
        w.run(Span::from_s(20))?;
        w.linked(a, b).then_some(()).ok_or("the link is gone")?;
        Ok(())
    })
}
