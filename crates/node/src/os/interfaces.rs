//! Network interfaces and their addresses.

use std::net::IpAddr;

/// The addresses of an interface named by its name or by one of its addresses: at most one of IPv4 and
/// one of IPv6, the first of each.
///
/// # Errors
/// A message for people when there is no such interface, or it has no address.
pub fn addresses_of(interface: &str) -> Result<Vec<IpAddr>, String> {
    let all = all();
    let (plain, zone) = interface.split_once('%').unzip();
    if let Ok(address) = plain.unwrap_or(interface).parse::<IpAddr>() {
        if is_link_local(&address) {
            return Err(link_local(&all, &address, zone));
        }
        return if zone.is_none() && all.iter().any(|(_, a)| *a == address) {
            Ok(vec![address])
        } else {
            Err(format!("no interface here has the address {address}; there are {}", list(&all)))
        };
    }
    let of: Vec<IpAddr> = all.iter().filter(|(n, _)| n == interface).map(|(_, a)| *a).collect();
    let v4 = of.iter().find(|a| a.is_ipv4());
    // A link-local address cannot be bound without its scope; a node is reached by the others.
    let v6 = of.iter().find(|a| a.is_ipv6() && !is_link_local(a));
    let found: Vec<IpAddr> = v4.into_iter().chain(v6).copied().collect();
    if found.is_empty() {
        return Err(format!(
            "no interface {interface:?} with an address; there are {}",
            list(&all)
        ));
    }
    Ok(found)
}

/// The addresses of this machine that others may reach it by.
#[must_use]
pub fn shareable() -> Vec<IpAddr> {
    let all = all().into_iter().map(|(_, address)| address);
    all.filter(|address| !address.is_loopback() && !is_link_local(address)).collect()
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Several interfaces may have it, and the system would say no more than "Invalid argument".
fn link_local(all: &[(String, IpAddr)], address: &IpAddr, zone: Option<&str>) -> String {
    let holder = all.iter().find(|(_, a)| a == address).map(|(name, _)| name.as_str());
    let name = zone.or(holder).map_or_else(
        || format!("; there are {}", list(all)),
        |name| format!(": --interface {name}"),
    );
    format!(
        "{address} is a link-local address and does not say which interface is meant; name it{name}"
    )
}

fn list(all: &[(String, IpAddr)]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(|(name, address)| format!("{name} ({address})")).collect::<Vec<_>>().join(", ")
}

#[cfg(unix)]
fn all() -> Vec<(String, IpAddr)> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|i| {
            let address = i.address?;
            let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            Some((i.interface_name, ip))
        })
        .collect()
}

#[cfg(not(unix))]
fn all() -> Vec<(String, IpAddr)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_address_and_nonsense_is_explained() {
        let v4: IpAddr = "127.0.0.1".parse().unwrap();
        let name = all().into_iter().find(|(_, a)| *a == v4).unwrap().0;
        assert!(addresses_of(&name).unwrap().contains(&v4));
        assert_eq!(addresses_of("127.0.0.1").unwrap(), [v4]);
        assert!(addresses_of("nonsense0").unwrap_err().contains(&name));
        assert!(addresses_of("192.0.2.1").unwrap_err().contains("127.0.0.1"));
    }

    #[test]
    fn a_link_local_address_is_refused_and_the_interface_asked_for() {
        let here = [("eth7".to_owned(), "fe80::1".parse::<IpAddr>().unwrap())];
        let error = link_local(&here, &here[0].1, None);
        assert!(error.ends_with("name it: --interface eth7"), "{error}");
        assert!(link_local(&[], &here[0].1, None).ends_with("there are none"));
        for named in ["fe80::1", "fe80::abcd%eth7"] {
            assert!(addresses_of(named).unwrap_err().contains("link-local"), "{named}");
        }
        assert!(addresses_of("fe80::abcd%eth7").unwrap_err().ends_with("--interface eth7"));
        assert!(addresses_of("127.0.0.1%eth7").is_err());
    }
}
