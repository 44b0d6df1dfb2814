//! Keys that the user set and that do nothing: none is dropped in silence.

use serde_yaml::Value;

use super::Workload;
use super::origin::Origins;
use super::schema::{self, Key, Kind};
use super::tree::lookup;

/// A warning for each key that is set by the user and has no effect here, or none under this workload.
pub(super) fn warnings(tree: &Value, workload: &Workload, origins: &Origins) -> Vec<String> {
    let effective = serde_json::to_value(workload).expect("a workload becomes JSON");
    let mut out: Vec<String> = Vec::new();
    let mut covered: Option<&str> = None;
    for key in schema::keys() {
        if covered.is_some_and(|section| key.section() == section) {
            continue;
        }
        let Some(value) = lookup(tree, &key.path) else {
            continue;
        };
        // A section counts where one of its own keys does.
        let origin = origins.get(&key.path).filter(|origin| origin.is_users());
        let Some(origin) = origin else { continue };
        let why = match key.without_effect() {
            Some("") => "it is accepted as DLIO accepts it".into(),
            Some(remark) => remark.to_string(),
            None => match unmet(key, value, workload, &effective) {
                Some(why) => why,
                None => continue,
            },
        };
        if key.kind == Kind::Section {
            covered = Some(&key.path);
        }
        out.push(format!("{origin}: {} has no effect: {why}", key.path));
    }
    out
}

/// Why a key of a condition has no effect, where it has none.
fn unmet(
    key: &Key,
    value: &Value,
    workload: &Workload,
    effective: &serde_json::Value,
) -> Option<String> {
    let only = key.only.as_ref()?;
    // A value that changes nothing misleads nobody.
    if serde_json::to_value(value).is_ok_and(|value| value == key.default) {
        return None;
    }
    let (name, is) = if only.key == "storage" {
        let word = workload.storage_system().word;
        ("the storage system", word.to_string())
    } else if only.key == "reader.data_loader" {
        ("reader.data_loader", workload.data_loader().word().into())
    } else {
        let at = only
            .key
            .split('.')
            .try_fold(effective, |node, part| node.get(part))?;
        let is = match at {
            serde_json::Value::Bool(flag) => flag.to_string(),
            word => word.as_str()?.to_string(),
        };
        (only.key.as_str(), is)
    };
    let is_met = only.words.contains(&is);
    (!is_met).then(|| match is.as_str() {
        "true" | "false" => format!("{name} is {is}"),
        _ => format!("{name} is {is}, and it is for {}", only.words.join(" and ")),
    })
}
