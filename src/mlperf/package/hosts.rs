//! What runs tell about their hosts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::json::at;
use super::super::leaf::Leaf;

/// A network interface.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Gigabits per second.
    pub speed_gbit: Option<f64>,
    /// Vendor, device, driver.
    pub model: Option<String>,
}

/// Hosts that are alike.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// How many.
    pub quantity: u64,
    /// Vendor and product.
    pub model: Option<String>,
    /// Memory, GiB.
    pub memory_gib: Option<f64>,
    /// The CPU's name.
    pub cpu_model: Option<String>,
    /// Sockets.
    pub cpu_sockets: Option<u64>,
    /// Cores of all sockets.
    pub cpu_cores: Option<u64>,
    /// Logical CPUs.
    pub cpu_count: Option<u64>,
    /// `uname -m`
    pub architecture: Option<String>,
    /// Distribution.
    pub os_name: Option<String>,
    /// Its version.
    pub os_version: Option<String>,
    /// `uname -r`
    pub kernel: Option<String>,
    /// Interfaces.
    pub ports: Vec<Port>,
    /// System parameters.
    pub sysctl: BTreeMap<String, String>,
}

/// Everything that the runs tell about where they ran.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Kinds of hosts.
    pub nodes: Vec<Node>,
    /// The MPI library.
    pub mpi_library: Option<String>,
    /// Its settings in the environment.
    pub mpi_environment: BTreeMap<String, String>,
    /// True where data or checkpoints lie in an object store.
    pub is_object: bool,
    /// More than one host took part in a run.
    pub is_multi_host: bool,
}

fn text(v: &Value, key: &str) -> Option<String> {
    let word = at(v, key)?.as_str()?;
    (word != "unknown" && !word.is_empty()).then(|| word.to_owned())
}

fn number(v: &Value, key: &str) -> Option<u64> {
    at(v, key)?.as_u64()
}

/// Bytes as GiB.
fn gib(v: &Value, key: &str) -> Option<f64> {
    Some(at(v, key)?.as_f64()? / 1073741824.0)
}

fn texts(v: &Value, key: &str) -> BTreeMap<String, String> {
    let map = at(v, key).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

impl Facts {
    /// Of these runs. Of a host that took part in several, the last run counts.
    pub fn of(leaves: &[&Leaf]) -> Self {
        let mut facts = Facts::default();
        let mut by_name: BTreeMap<String, Node> = BTreeMap::new();
        for leaf in leaves {
            let told = leaf.metadata().and_then(|m| at(m, "system_info.hosts"));
            for host in told.and_then(Value::as_array).into_iter().flatten() {
                if let Some(name) = text(host, "hostname") {
                    by_name.insert(name, of_metadata(host));
                }
            }
            facts.is_multi_host |= leaf.hosts().is_some_and(|n| n > 1);
            facts.is_object |= super::super::figures::of(leaf).is_ok_and(|f| f.access == "object");
            if let Some(report) = leaf.report.value() {
                facts.mpi_library = text(report, "provenance.mpi_library").or(facts.mpi_library);
                facts
                    .mpi_environment
                    .extend(texts(report, "provenance.mpi_environment"));
                let hosts = at(report, "hosts").and_then(Value::as_array);
                for host in hosts.into_iter().flatten() {
                    if let Some(name) = text(host, "name") {
                        by_name.insert(name, of_report(host));
                    }
                }
            }
        }
        for node in by_name.into_values() {
            match facts.nodes.iter_mut().find(|n| alike(n, &node)) {
                Some(same) => same.quantity += 1,
                None => facts.nodes.push(node),
            }
        }
        if facts.nodes.is_empty() {
            facts
                .nodes
                .extend(leaves.iter().rev().find_map(|l| of_summary(l)));
        }
        facts
    }
}

/// The same but for their number, and for the few MiB by which firmware differs.
fn alike(a: &Node, b: &Node) -> bool {
    let plain = |n: &Node| Node {
        quantity: 0,
        memory_gib: n.memory_gib.map(f64::round),
        ..n.clone()
    };
    plain(a) == plain(b)
}

fn of_report(host: &Value) -> Node {
    let ports = at(host, "machine.nics").and_then(Value::as_array);
    Node {
        quantity: 1,
        model: text(host, "machine.model"),
        memory_gib: gib(host, "memory.value"),
        cpu_model: text(host, "machine.cpu_model"),
        cpu_sockets: number(host, "machine.cpu_sockets"),
        cpu_cores: number(host, "machine.cpu_cores"),
        cpu_count: number(host, "cpu_count"),
        architecture: text(host, "machine.architecture"),
        os_name: text(host, "machine.os_name"),
        os_version: text(host, "machine.os_version"),
        kernel: text(host, "machine.kernel"),
        ports: ports
            .into_iter()
            .flatten()
            .filter_map(|p| {
                Some(Port {
                    name: text(p, "name")?,
                    speed_gbit: at(p, "speed_mbit_per_second")
                        .and_then(Value::as_f64)
                        .map(|s| s / 1000.0),
                    model: text(p, "model"),
                })
            })
            .collect(),
        sysctl: texts(host, "machine.sysctl"),
    }
}

/// What mlpstorage records of a host.
fn of_metadata(host: &Value) -> Node {
    let version = text(host, "system.kernel_version");
    Node {
        quantity: 1,
        memory_gib: gib(host, "memory.total"),
        cpu_model: text(host, "cpu.model"),
        cpu_cores: number(host, "cpu.num_cores"),
        cpu_count: number(host, "cpu.num_logical_cores"),
        architecture: text(host, "cpu.architecture"),
        os_name: text(host, "system.os_release.NAME"),
        os_version: text(host, "system.os_release.VERSION"),
        // `/proc/version`: "Linux version 5.14.0-427 (...)".
        kernel: version.and_then(|v| Some(v.split_whitespace().nth(2)?.to_owned())),
        ..Node::default()
    }
}

/// What DLIO records: rank 0's CPU, and the memory of all hosts.
fn of_summary(leaf: &Leaf) -> Option<Node> {
    let hosts = leaf.hosts()?;
    let cpu = |key: &str| {
        leaf.summary("host_cpuinfo")?
            .get(key)?
            .as_str()
            .map(str::to_owned)
    };
    let counts = leaf.summary("host_cpu_count").and_then(Value::as_array);
    Some(Node {
        quantity: hosts,
        memory_gib: leaf.memory_gib().map(|m| m / hosts.max(1) as f64),
        cpu_model: cpu("model name"),
        cpu_count: counts
            .map(|c| {
                c.iter()
                    .filter_map(Value::as_u64)
                    .fold(0, u64::saturating_add)
                    / hosts.max(1)
            })
            .filter(|n| *n > 0),
        ..Node::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::json::Document;
    use super::*;

    #[test]
    fn mlpstorage_tells_its_hosts_too() {
        let host = |name: &str, bytes: u64| {
            json!({
                "hostname": name, "memory": {"total": bytes},
                "cpu": {"num_cores": 32, "num_logical_cores": 64, "model": "AMD EPYC 9354P", "architecture": "x86_64"},
                "system": {
                    "kernel_version": "Linux version 5.14.0-427.13.1.el9_4.x86_64 (mock@build) #1 SMP",
                    "os_release": {"NAME": "Rocky Linux", "VERSION": "9.4 (Blue Onyx)"},
                },
            })
        };
        let metadata =
            json!({"system_info": {"hosts": [host("h1", 201956405248), host("h2", 201960521728)]}});
        let leaf = Leaf {
            metadata: vec![(
                "training_x_metadata.json".into(),
                Document::Read {
                    value: metadata,
                    not_numbers: 0,
                },
            )],
            ..Leaf::default()
        };
        let facts = Facts::of(&[&leaf]);
        assert_eq!(facts.nodes.len(), 1);
        let node = &facts.nodes[0];
        assert_eq!((node.quantity, node.cpu_cores), (2, Some(32)));
        assert_eq!(node.kernel.as_deref(), Some("5.14.0-427.13.1.el9_4.x86_64"));
        assert_eq!(node.os_name.as_deref(), Some("Rocky Linux"));
    }

    #[test]
    fn hosts_that_are_alike_are_one_node() {
        let host = |name: &str, cores: u64, memory: u64| {
            json!({
                "name": name, "cpu_count": 2 * cores,
                "memory": {"value": memory, "unit": "B"},
                "machine": {
                    "model": "unknown", "cpu_model": "X", "cpu_sockets": 1, "cpu_cores": cores,
                    "nics": [{"name": "eth0", "speed_mbit_per_second": 100_000, "model": "unknown"}],
                    "sysctl": {"vm.swappiness": "60"},
                },
            })
        };
        let report = json!({
            "provenance": {"mpi_library": "M 1", "mpi_environment": {"UCX_TLS": "rc"}},
            "hosts": [host("b", 8, 64 << 30), host("a", 8, (64 << 30) + 4096), host("c", 4, 64 << 30)],
        });
        let leaf = Leaf {
            report: Document::Read {
                value: report,
                not_numbers: 0,
            },
            ..Leaf::default()
        };
        // The same host in two runs is one.
        let facts = Facts::of(&[&leaf, &leaf]);
        let counts: Vec<_> = facts
            .nodes
            .iter()
            .map(|n| (n.quantity, n.cpu_cores))
            .collect();
        assert_eq!(counts, [(2, Some(8)), (1, Some(4))]);
        assert_eq!(facts.nodes[0].ports[0].speed_gbit, Some(100.0));
        assert_eq!(facts.nodes[0].model, None);
        assert_eq!(facts.mpi_library.as_deref(), Some("M 1"));
        assert_eq!(facts.mpi_environment["UCX_TLS"], "rc");
    }
}
