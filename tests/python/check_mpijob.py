"""Checks an MPIJob against the schema that the MPI operator publishes, and its volumes against its claims.

    check_mpijob.py FILE.yaml SCHEMA.json      exit status 1 where something is wrong
"""

import json
import pathlib
import sys

import jsonschema
import yaml


def closed(schema):
    """The schema with unknown fields refused, as an API server with strict validation does."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: {name: closed(one) for name, one in value.items()} if key == "properties" else closed(value)
           for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and "additionalProperties" not in out:
        out["additionalProperties"] = bool(out.get("x-kubernetes-preserve-unknown-fields"))
    return out


def main():
    documents = list(yaml.safe_load_all(pathlib.Path(sys.argv[1]).read_text()))
    schema = closed(json.loads(pathlib.Path(sys.argv[2]).read_text()))
    # The API server has a schema of its own for metadata.
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    jobs = [one for one in documents if one["kind"] == "MPIJob"]
    claims = {one["metadata"]["name"] for one in documents if one["kind"] == "PersistentVolumeClaim"}
    problems = [] if jobs else ["there is no MPIJob"]
    for job in jobs:
        for error in jsonschema.Draft202012Validator(schema).iter_errors(job):
            problems.append(f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}")
        for role, replica in job["spec"]["mpiReplicaSpecs"].items():
            pod = replica["template"]["spec"]
            volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
            mounts = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
            wanted = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values()}
            if mounts != set(volumes) or wanted - claims:
                problems.append(f"{role}: volumes {sorted(volumes)}, mounts {sorted(mounts)}, claims {sorted(claims)}")
    print("\n".join(problems) or f"{sys.argv[1]}: {len(jobs)} job(s)")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
