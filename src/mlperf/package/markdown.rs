//! The text of the PDF that a submission needs, as Markdown to complete and print.

use std::fmt::Write as _;

use super::super::NOT_CLOSED;
use super::super::table::Table;
use super::hosts::{Facts, Node};
use super::{FILL_IN, Request};

/// All sections, with the clients' facts filled in.
pub fn text(request: &Request<'_>, facts: &Facts, to_do: &[String]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "# {system}\n\n\
         | | |\n| --- | --- |\n\
         | System name | {system} |\n\
         | Submitter | {organisation} |\n\
         | Submission date | {FILL_IN} |\n\
         | Benchmark version | MLPerf Storage {edition}, run by dlio-rs {version} (a re-implementation of DLIO) |\n\
         | Solution type | {FILL_IN} |\n\
         | Division | OPEN |\n\n\
         {NOT_CLOSED}\n\n",
        system = request.system,
        organisation = request.organisation,
        edition = request.edition,
        version = env!("CARGO_PKG_VERSION"),
    );
    out += "## Power requirements\n\n\
            Every component that needs power, with each of its power supplies. Not for a cloud or hyper-converged system.\n\n";
    let mut power = Table::new(&[
        "System component",
        "Power supply unit",
        "Nameplate rated power (W)",
        "Design power (W)",
    ]);
    power.rows.push(vec![FILL_IN.into(); 4]);
    power.rows.push(vec![
        "Totals".into(),
        String::new(),
        FILL_IN.into(),
        FILL_IN.into(),
    ]);
    out += &power.markdown();
    let _ = write!(
        out,
        "\n## Topology\n\n{FILL_IN}: a drawing of clients, network and storage, with the options that are not the defaults.\n\n\
         ## Rack units\n\n{FILL_IN}: rack units of every component, and their sum.\n\n\
         ## Clients\n\nAs the runs recorded them.\n\n"
    );
    for node in &facts.nodes {
        out += &client(node);
    }
    if facts.nodes.is_empty() {
        let _ = write!(out, "{FILL_IN}: the runs recorded nothing.\n\n");
    }
    let _ = writeln!(
        out,
        "MPI library: {}\n",
        facts.mpi_library.as_deref().unwrap_or(FILL_IN)
    );
    if !facts.mpi_environment.is_empty() {
        out += "Its settings in the environment:\n\n";
        for (name, value) in &facts.mpi_environment {
            let _ = writeln!(out, "- `{name}={value}`");
        }
        out.push('\n');
    }
    let _ = write!(
        out,
        "## Storage\n\n{FILL_IN}: software, hardware and settings of the storage system, with versions and counts.\n\n\
         ## Before this is submitted\n\n"
    );
    for item in to_do {
        let _ = writeln!(out, "- {item}");
    }
    out
}

fn client(node: &Node) -> String {
    let mut table = Table::new(&["Client", "Value"]);
    let or = |value: Option<String>| value.unwrap_or_else(|| FILL_IN.into());
    let number = |n: Option<u64>| or(n.map(|n| n.to_string()));
    for (name, value) in [
        ("Quantity", node.quantity.to_string()),
        ("Model", or(node.model.clone())),
        ("CPU", or(node.cpu_model.clone())),
        ("Sockets", number(node.cpu_sockets)),
        ("Cores", number(node.cpu_cores)),
        ("Logical CPUs", number(node.cpu_count)),
        (
            "Memory",
            or(node.memory_gib.map(|g| format!("{g:.2} GiB usable"))),
        ),
        (
            "Operating system",
            or(node.os_name.clone().map(|name| {
                let version = node.os_version.as_deref().unwrap_or(FILL_IN);
                format!("{name} {version}")
            })),
        ),
        ("Kernel", or(node.kernel.clone())),
    ] {
        table.rows.push(vec![name.into(), value]);
    }
    for port in &node.ports {
        let speed = port
            .speed_gbit
            .map_or_else(|| FILL_IN.into(), |s| format!("{s}"));
        table.rows.push(vec![
            format!("Network {}", port.name),
            format!(
                "{speed} Gbit/s, {}",
                port.model.as_deref().unwrap_or(FILL_IN)
            ),
        ]);
    }
    for (name, value) in &node.sysctl {
        table
            .rows
            .push(vec![format!("sysctl {name}"), value.clone()]);
    }
    table.markdown() + "\n"
}
