//! The network addresses of this host.

use std::net::Ipv4Addr;

use nix::net::if_::InterfaceFlags;

/// IPv4 addresses by which other hosts may reach this one: those of interfaces that are up, without the loopback.
pub fn ipv4_addresses() -> Vec<Ipv4Addr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    interfaces
        .filter(|i| i.flags.contains(InterfaceFlags::IFF_UP))
        .filter(|i| !i.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter_map(|i| Some(i.address?.as_sockaddr_in()?.ip()))
        .collect()
}
