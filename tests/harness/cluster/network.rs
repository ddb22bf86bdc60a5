//! The network of a cluster: one wire that joins the nodes, the machine of MinIO and this computer, and no way out.
//!
//! ```text
//! this computer .1 ── lan .2 (bridge, MinIO) ──┬── node1 .11  pods 10.244.1.0/24
//!                                              └── node2 .12  pods 10.244.2.0/24
//! ```

use std::{net::Ipv4Addr, process::Command};

use anyhow::Result;

use super::{
    instance::Instance,
    machine::{Machine, feed},
};
use crate::control_plane::SERVICES;

/// All pods of a cluster.
pub const PODS: &str = "10.244.0.0/16";

/// This computer's end of the wire.
const COMPUTER: u8 = 1;

/// The machine that carries the wire, and MinIO.
const LAN: u8 = 2;

/// The first node's, less one.
const NODES: u8 = 10;

/// Addresses of one cluster.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// This computer, as nodes and MinIO see it.
    pub computer: Ipv4Addr,
    /// The machine of MinIO.
    pub lan: Ipv4Addr,
    base: Ipv4Addr,
}

impl Network {
    /// Makes interfaces, addresses and routes.
    pub fn make(instance: &Instance, lan: &Machine, nodes: &[Machine]) -> Result<Self> {
        let network =
            Self { computer: instance.address(COMPUTER), lan: instance.address(LAN), base: instance.address(NODES) };
        let outside = instance.name();
        let lines = [
            format!("link add {outside} type veth peer name computer netns {}", lan.pid()),
            format!("address add {}/24 dev {outside}", network.computer),
            format!("link set {outside} up"),
        ];
        ip(Command::new("ip"), &lines)?;
        let mut lines = vec![
            "link add lan type bridge".to_owned(),
            "link set lan up".to_owned(),
            format!("address add {}/24 dev lan", network.lan),
            "link set computer master lan up".to_owned(),
        ];
        for (index, node) in (1..).zip(nodes) {
            lines.push(format!("link add {} type veth peer name eth0 netns {}", node.name(), node.pid()));
            lines.push(format!("link set {} master lan up", node.name()));
            lines.push(format!("route add {} via {}", pods(index), network.node(index)));
        }
        ip(lan.in_network("ip"), &lines)?;
        for (index, node) in (1..).zip(nodes) {
            network.join(index, node, nodes.len())?;
        }
        Ok(network)
    }

    fn join(&self, index: u8, node: &Machine, count: usize) -> Result<()> {
        let mut lines = vec![
            format!("address add {}/24 dev eth0", self.node(index)),
            "link set eth0 up".to_owned(),
            // A program on the node can address services only if there is a route; kube-proxy changes the destination later.
            format!("route add {SERVICES} dev eth0"),
        ];
        let others = (1..).take(count).filter(|other| *other != index);
        lines.extend(others.map(|other| format!("route add {} via {}", pods(other), self.node(other))));
        ip(node.in_network("ip"), &lines)?;
        node.shell("sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1")?;
        // This computer would send its answers to a pod to its own gateway, so no pod may ask it.
        let rules = format!(
            "table ip trysail {{\n chain forward {{\n type filter hook forward priority 0;\n \
             ip daddr {} ct state new drop\n }}\n}}\n",
            self.computer
        );
        let mut nft = node.in_network("nft");
        nft.args(["-f", "-"]);
        feed(nft, rules.as_bytes(), "nft")
    }

    /// The address of the n-th node, counted from 1.
    pub fn node(&self, index: u8) -> Ipv4Addr {
        let [a, b, c, first] = self.base.octets();
        Ipv4Addr::new(a, b, c, first + index)
    }
}

/// The addresses of the pods of the n-th node, counted from 1.
pub fn pods(index: u8) -> String {
    format!("10.244.{index}.0/24")
}

fn ip(mut command: Command, lines: &[String]) -> Result<()> {
    command.args(["-batch", "-"]);
    feed(command, lines.join("\n").as_bytes(), "ip")
}
