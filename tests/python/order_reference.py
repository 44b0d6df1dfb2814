"""DLIO's access order by numpy alone: what `dlio-rs plan --order` must print.

Reads one JSON object from stdin: files, samples_per_file, batch, ranks, epochs, threads, loader (pytorch, tensorflow),
file_shuffle, sample_shuffle, seed, seed_change_epoch, subfolders, prefix, format, and for a dataset of other names `listed`
with the names that a listing finds. Written from the behaviour of the
MLCommons version of DLIO, with numpy's own seed() and shuffle().
"""

import json
import sys

import numpy as np


def file_list(c):
    """All training files as DLIO lists them: sorted by path."""
    files, sub = c["files"], c["subfolders"]
    if "listed" in c:
        return sorted(c["listed"])[:files]
    names = []
    for i in range(files):
        folder = f"{i % sub:0{len(str(sub))}}/" if sub > 1 else ""
        names.append(f"train/{folder}{c['prefix']}_{i:0{len(str(files))}}_of_{files}.{c['format']}")
    return sorted(names)


def reshard(c, shards, epoch):
    """Every rank shuffles its shard, deals it out, and shuffles what it got."""
    seed, ranks = c["seed"], c["ranks"]
    sent = []
    for rank, shard in enumerate(shards):
        shard = list(shard)
        np.random.seed(seed + epoch if c["seed_change_epoch"] else seed)
        np.random.shuffle(shard)
        buckets = [[] for _ in range(ranks)]
        for i, name in enumerate(shard):
            buckets[(i + rank) % ranks].append(name)
        sent.append(buckets)
    result = []
    for rank in range(ranks):
        shard = [name for buckets in sent for name in buckets[rank]]
        np.random.seed(seed + epoch + 31 * rank)
        np.random.shuffle(shard)
        result.append(shard)
    return result


def pytorch_batches(c, shard):
    n, b = c["samples_per_file"], c["batch"]
    ids = list(range(len(shard) * n))
    return [[(shard[i // n], i % n) for i in ids[k : k + b]] for k in range(0, len(ids) - b + 1, b)]


def tensorflow_batches(c, shard, epoch):
    n, b, threads = c["samples_per_file"], c["batch"], max(c["threads"], 1)
    ids = np.arange(len(shard) * n)
    per_thread = len(ids) // threads
    if c["sample_shuffle"]:
        np.random.seed(c["seed"] + epoch if c["seed_change_epoch"] else c["seed"])
        np.random.shuffle(ids)
    maps = [[] for _ in range(threads)]
    for k, sample in enumerate(ids):
        maps[(k // per_thread) % threads].append((shard[(k // n) % len(shard)], int(sample) % n))
    queues = [[m[k : k + b] for k in range(0, len(m) - b + 1, b)] for m in maps]
    batches = []
    while any(queues):
        for queue in queues:
            if queue:
                batches.append(queue.pop(0))
    return batches


def main():
    c = json.load(sys.stdin)
    names, ranks = file_list(c), c["ranks"]
    keep = len(names) // ranks
    shards = [names[rank::ranks][:keep] for rank in range(ranks)]
    for epoch in range(1, c["epochs"] + 1):
        if c["file_shuffle"]:
            shards = reshard(c, shards, epoch)
        for rank, shard in enumerate(shards):
            batches = pytorch_batches(c, shard) if c["loader"] == "pytorch" else tensorflow_batches(c, shard, epoch)
            for step, batch in enumerate(batches, 1):
                for name, sample in batch:
                    line = {"epoch": epoch, "rank": rank, "step": step, "file": name, "sample": sample}
                    print(json.dumps(line, separators=(",", ":"), ensure_ascii=False))


main()
