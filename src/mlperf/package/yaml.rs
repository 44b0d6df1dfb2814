//! The description of the system under test, with what the hosts know filled in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::{Edition, NOT_CLOSED};
use super::hosts::{Facts, Node, Port};
use super::{FILL_IN, Request};

/// The YAML file, in the keys of the edition. What a machine cannot know is [`FILL_IN`].
pub fn text(request: &Request<'_>, facts: &Facts) -> String {
    let head = format!(
        "# System under test of an OPEN submission to MLPerf Storage {}. dlio-rs filled in what the runs recorded\n\
         # about the client hosts; what a machine cannot know is marked, for a person to replace.\n\
         # {NOT_CLOSED}\n",
        request.edition
    );
    let body = match request.edition {
        Edition::V2 => v2(request, facts),
        Edition::V3 => v3(request, facts),
    };
    head + &body
}

/// A scalar in quotes, which are JSON's and YAML's.
fn quoted(word: &str) -> String {
    serde_json::Value::from(word).to_string()
}

fn word(value: &Option<String>) -> String {
    value.as_deref().map_or_else(|| FILL_IN.into(), quoted)
}

fn count(value: Option<u64>) -> String {
    value.map_or_else(|| FILL_IN.into(), |n| n.to_string())
}

fn gib(value: Option<f64>) -> String {
    value.map_or_else(|| FILL_IN.into(), |g| format!("{:.0}", g.ceil()))
}

/// Lines with this indent. Writing to a String cannot fail.
macro_rules! lines {
    ($out:expr, $($arg:tt)*) => { let _ = writeln!($out, $($arg)*); };
}

fn nodes(facts: &Facts) -> Vec<Node> {
    if facts.nodes.is_empty() {
        // A node all of whose places are a person's.
        vec![Node::default()]
    } else {
        facts.nodes.clone()
    }
}

fn quantity(node: &Node) -> String {
    count(Some(node.quantity).filter(|q| *q > 0))
}

fn node_name(index: usize, of: usize) -> String {
    if of == 1 {
        "dlio_client".into()
    } else {
        format!("dlio_client_{}", index + 1)
    }
}

fn v2(request: &Request<'_>, facts: &Facts) -> String {
    let mut out = String::new();
    lines!(out, "System:");
    lines!(out, "  name: {}", quoted(request.system));
    lines!(out, "  description: {FILL_IN}");
    lines!(
        out,
        "  storage_location: {FILL_IN}  # remote, local or hyper-converged"
    );
    lines!(out, "  client_software: {FILL_IN}  # in-box or proprietary");
    let interface = if facts.is_object { "object" } else { FILL_IN };
    lines!(
        out,
        "  storage_interface: {interface}  # block, file or object"
    );
    lines!(out, "  required_rack_units: {FILL_IN}");
    lines!(out, "  shared_capabilities:");
    // Only that it happened can be known, not that it cannot.
    let multi = if facts.is_multi_host { "True" } else { FILL_IN };
    lines!(out, "    multi_host_support: {multi}  # True or False");
    lines!(
        out,
        "    simultaneous_write_support: {FILL_IN}  # True or False"
    );
    lines!(
        out,
        "    simultaneous_read__support: {FILL_IN}  # True or False"
    );
    lines!(
        out,
        "  # Optional, GiB/s: max_sequential_read, max_sequential_write, max_random_read, max_random_write"
    );
    lines!(out, "\nPowerRequirements:");
    let all = nodes(facts);
    for (i, node) in all.iter().enumerate() {
        lines!(out, "  {}:", node_name(i, all.len()));
        lines!(out, "    quantity: {}", quantity(node));
        lines!(
            out,
            "    psu1_nameplate_power: {FILL_IN}  # watts; one line per power supply: psu2_..., psu3_..."
        );
        lines!(out, "    design_power: {FILL_IN}  # watts");
        lines!(out, "    num_active_psus: {FILL_IN}");
        lines!(out, "    num_passive_psus: {FILL_IN}");
    }
    lines!(
        out,
        "  # {FILL_IN}: the same block for every storage node, shelf and switch"
    );
    lines!(out, "\nNodes:");
    for (i, node) in all.iter().enumerate() {
        lines!(out, "  {}:", node_name(i, all.len()));
        lines!(out, "    quantity: {}", quantity(node));
        lines!(out, "    hardware:");
        lines!(out, "      model: {}", word(&node.model));
        for key in [
            "rack_units",
            "power_supplies",
            "psu_configuration",
            "psu_rating",
        ] {
            lines!(out, "      {key}: {FILL_IN}");
        }
        let memory = node
            .memory_gib
            .map(|_| format!("{}GiB", gib(node.memory_gib)));
        lines!(out, "      memory_capacity: {}", word(&memory));
        lines!(
            out,
            "      memory_configuration: {FILL_IN}  # such as 8x32GB"
        );
        lines!(out, "      cpu_qty: {}", count(node.cpu_sockets));
        lines!(out, "      cpu_model: {}", word(&node.cpu_model));
        lines!(out, "      cpu_cores: {}", count(node.cpu_cores));
        lines!(out, "    networking:");
        for port in &node.ports {
            lines!(
                out,
                "      {}:  # {FILL_IN}: its role, such as management or data",
                quoted(&port.name)
            );
            lines!(out, "        model: {}", word(&port.model));
            let speed = port.speed_gbit.map(|s| format!("{s}Gbps"));
            lines!(out, "        speed: {}", word(&speed));
            lines!(out, "        qty: 1");
        }
        if node.ports.is_empty() {
            lines!(
                out,
                "      {FILL_IN}: {{model: {FILL_IN}, speed: {FILL_IN}, qty: {FILL_IN}}}"
            );
        }
        lines!(out, "    operating_system:");
        lines!(out, "      name: {}", word(&node.os_name));
        lines!(out, "      version: {}", word(&node.os_version));
        lines!(out, "      release_date: {FILL_IN}");
        lines!(out, "      kernel_version: {}", word(&node.kernel));
        lines!(out, "      cpu_architecture: {}", word(&node.architecture));
        lines!(out, "    tuning:");
        lines!(out, "      mpi_configuration:");
        map(
            &mut out,
            "        environment_variables",
            &facts.mpi_environment,
        );
        lines!(out, "        version: {}", word(&facts.mpi_library));
        lines!(
            out,
            "      # {FILL_IN}: keep those that are not the system's defaults, and add others that were changed"
        );
        map(&mut out, "      sysctl_parameters", &node.sysctl);
    }
    lines!(
        out,
        "  # {FILL_IN}: the same block for every kind of storage node and controller"
    );
    out
}

fn map(out: &mut String, key: &str, values: &BTreeMap<String, String>) {
    if values.is_empty() {
        lines!(out, "{key}: {{}}");
        return;
    }
    lines!(out, "{key}:");
    let indent = key.len() - key.trim_start().len() + 2;
    for (name, value) in values {
        lines!(out, "{:indent$}{}: {}", "", quoted(name), quoted(value));
    }
}

fn v3(request: &Request<'_>, facts: &Facts) -> String {
    let mut out = String::new();
    let api = if facts.is_object { "object" } else { "file" };
    let multi = if facts.is_multi_host { "true" } else { FILL_IN };
    lines!(out, "system_under_test:");
    lines!(out, "  solution:");
    lines!(out, "    submission_name: {}", quoted(request.system));
    lines!(out, "    friendly_description: {FILL_IN}");
    lines!(
        out,
        "    availability: {FILL_IN}  # available, preview or RDI"
    );
    lines!(out, "    usable_capacity_tib: {FILL_IN}");
    lines!(
        out,
        "    # int_client_store_tib: only where the clients hold storage of the solution"
    );
    lines!(out, "    architecture:");
    lines!(
        out,
        "      storage_location: {FILL_IN}  # remote, local or remote_and_local"
    );
    lines!(out, "      benchmark_API: {api}");
    lines!(out, "      product_API: {FILL_IN}  # file, object or block");
    lines!(
        out,
        "      client_footprint: {FILL_IN}  # open_source, closed_source or n/a"
    );
    lines!(
        out,
        "      client_installation: {FILL_IN}  # in_box, installable or n/a"
    );
    lines!(out, "    capabilities:");
    lines!(out, "      multi_host: {multi}  # true or false");
    lines!(out, "      simultaneous_write: {FILL_IN}  # true or false");
    lines!(out, "      simultaneous_read: {FILL_IN}  # true or false");
    lines!(
        out,
        "      remap_time_in_seconds: {FILL_IN}  # 0 where both are true, else more"
    );
    lines!(out, "  deployment: {FILL_IN}  # onprem or cloud");
    lines!(
        out,
        "  total_rack_units: {FILL_IN}  # of product_nodes and product_switches; not for cloud"
    );
    lines!(
        out,
        "  # {FILL_IN}: product_nodes, in the keys of clients below"
    );
    lines!(
        out,
        "  # {FILL_IN}: product_switches: unit_count, vendor_name, model_name, ports, rack_units, power"
    );
    lines!(out, "  clients:");
    for node in &nodes(facts) {
        lines!(out, "    - friendly_description: \"dlio-rs client\"");
        lines!(out, "      quantity: {}", quantity(node));
        lines!(out, "      chassis:");
        lines!(out, "        model_name: {}", word(&node.model));
        lines!(out, "        cpu_model: {}", word(&node.cpu_model));
        lines!(out, "        cpu_qty: {}", count(node.cpu_sockets));
        lines!(out, "        cpu_cores: {}", count(node.cpu_cores));
        lines!(
            out,
            "        memory_capacity: {}  # GiB",
            gib(node.memory_gib)
        );
        lines!(out, "        rack_units: {FILL_IN}  # not for cloud");
        lines!(out, "        power:  # not for cloud");
        lines!(out, "          min_psus_active: {FILL_IN}");
        lines!(out, "          psus_configured:");
        lines!(
            out,
            "            - {{unit_count: {FILL_IN}, inlet_voltage: {FILL_IN}, nameplate_power_watts: {FILL_IN}, efficiency: {FILL_IN}}}"
        );
        if !node.ports.is_empty() {
            lines!(out, "      networking:");
            node.ports.iter().for_each(|p| port(&mut out, p));
        }
        lines!(out, "      operating_system:");
        lines!(out, "        name: {}", word(&node.os_name));
        lines!(out, "        version: {}", word(&node.os_version));
        if let Some(library) = &facts.mpi_library {
            lines!(out, "      # MPI library: {library}");
        }
        pairs(&mut out, "environment", &facts.mpi_environment);
        let mut sysctl = node.sysctl.clone();
        if let Some(kernel) = &node.kernel {
            sysctl.insert("kernel.osrelease".into(), kernel.clone());
        }
        lines!(
            out,
            "      # {FILL_IN}: keep those that are not the system's defaults, and add others that were changed"
        );
        pairs(&mut out, "sysctl", &sysctl);
    }
    out
}

fn port(out: &mut String, p: &Port) {
    let model = p.model.as_deref().unwrap_or("unknown model");
    lines!(out, "        # {}: {model}", p.name.escape_default());
    lines!(out, "        - unit_count: 1");
    let kind = if p.name.starts_with("ib") {
        "infiniband"
    } else {
        "ethernet"
    };
    lines!(out, "          type: {kind}");
    // A link that is up tells its speed, but for some virtual ones.
    let state = if p.speed_gbit.is_some() {
        "up"
    } else {
        FILL_IN
    };
    lines!(out, "          state: {state}  # up or down");
    let speed = p
        .speed_gbit
        .map_or_else(|| FILL_IN.into(), |s| format!("{s}"));
    lines!(out, "          speed: {speed}  # Gbit/s");
    lines!(
        out,
        "          traffic: [{FILL_IN}]  # management, data, metadata, backend"
    );
}

fn pairs(out: &mut String, key: &str, values: &BTreeMap<String, String>) {
    if values.is_empty() {
        return;
    }
    lines!(out, "      {key}:");
    for (name, value) in values {
        lines!(
            out,
            "        - {{name: {}, value: {}}}",
            quoted(name),
            quoted(value)
        );
    }
}
