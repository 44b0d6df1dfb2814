"""Lets PyTorch and numpy judge checkpoint files: keys, shapes, data types and contents of every file of every rank.

    check_checkpoint.py CASES.json                 checks; exit status 1 with one line per difference
    check_checkpoint.py --rewrite CASES.json       loads each .pt file and saves it again with torch.save

CASES.json: a list of objects with the keys of CASE below. The layout is computed here from DLIO's formulas, and the
contents from the definition in src/plan/fill.rs, so nothing is taken from the program that wrote the files.
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np

# What a case may say; the model is the small one of configs/checkpoint_small.yaml unless given.
CASE = {
    "folder": None,  # the checkpoint's own folder, global_epoch<e>_step<s>
    "ranks": 1,
    "tensor": 1,
    "pipeline": 1,
    "zero": 0,
    "layers": 4,
    "hidden": 512,
    "ffn": 1536,
    "heads": 8,
    "kv_heads": 2,
    "vocab": 4096,
    "model_dtype": "fp16",
    "optimizer_dtype": "fp32",
    "seed": 10,
    "ones": False,
    "container": "pt",
}
ITEM_BYTES = {"int8": 1, "uint8": 1, "fp16": 2, "bf16": 2, "fp32": 4, "fp64": 8}
ONES = {"int8": "01", "uint8": "01", "fp16": "003c", "bf16": "803f", "fp32": "0000803f", "fp64": "000000000000f03f"}


def layer_range(c, stage):
    """Layers of a pipeline stage: 0 embedding, 1..l blocks, l+1 head, l+2 final norm."""
    per, more = divmod(c["layers"], c["pipeline"])
    first = 1 + sum(per + (1 if s < more else 0) for s in range(stage))
    layers = list(range(first, first + per + (1 if stage < more else 0)))
    if stage == 0:
        layers.insert(0, 0)
    if stage == c["pipeline"] - 1:
        layers += [c["layers"] + 1, c["layers"] + 2]
    return layers


def layer_sizes(c, layer, shards):
    h, f, tp = c["hidden"], c["ffn"], c["tensor"]
    kv = h // c["heads"] * c["kv_heads"]
    if layer in (0, c["layers"] + 1):
        return [h * c["vocab"] // tp // shards]
    if layer == c["layers"] + 2:
        return [h // shards]
    matrices = [h * (h + 2 * kv), h * h, 2 * h * f, h * f]
    qkv, dense, up, down = (m // tp // shards for m in matrices)
    return [h // shards, qkv, dense, h // shards, up, down]


def files_of(c, rank):
    """name -> list of (group, key, dtype, elements), of one rank."""
    tp, pp, zero = c["tensor"], c["pipeline"], c["zero"]
    mp = tp * pp
    dp = c["ranks"] // mp
    d, m, stage = rank // mp, rank % mp, rank // tp % pp
    if zero == 0 and d > 0:
        return {}
    out = {}
    dtype = c["model_dtype"]
    layers = layer_range(c, stage)
    shards = dp if zero == 3 else 1
    if zero in (1, 2):
        if d == 0 and pp > 1:
            for layer in layers:
                out[f"layer_{layer}-model_{m}_model_states"] = [
                    (None, str(i), dtype, n) for i, n in enumerate(layer_sizes(c, layer, shards))
                ]
        elif d == 0:
            out[f"model_{m}_model_states"] = [
                (str(layer), str(i), dtype, n)
                for layer in layers
                for i, n in enumerate(layer_sizes(c, layer, shards))
            ]
    else:
        out[f"zero_pp_rank_{d}_mp_rank_{m}_model_states"] = [
            (str(layer), str(i), dtype, n)
            for layer in layers
            for i, n in enumerate(layer_sizes(c, layer, shards))
        ]
    h, f = c["hidden"], c["ffn"]
    kv = h // c["heads"] * c["kv_heads"]
    block = h + h * (h + 2 * kv) + h * h + h + 2 * f * h + f * h
    parameters = c["vocab"] * h + c["layers"] * block + h + c["vocab"] * h
    n = parameters // (dp * mp if zero > 0 else mp)
    out[f"zero_pp_rank_{d}_mp_rank_{m}_optim_states"] = [
        (None, str(i), c["optimizer_dtype"], size) for i, size in enumerate([n, 5 * h] * 3)
    ]
    return out


U64 = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z):
    z &= U64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
    return z ^ (z >> 31)


def mix_all(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def table(seed, cache={}):
    if seed not in cache:
        state = mix(seed ^ 0x5851F42D4C957F2D)
        words = []
        for _ in range(32 * 64):
            state = (state + GAMMA) & U64
            words.append(mix(state))
        cache[seed] = np.array(words, dtype=np.uint64).reshape(32, 64)
    return cache[seed]


def content(c, name, index, dtype, elements):
    """The bytes of tensor number `index` of the file `name`."""
    length = elements * ITEM_BYTES[dtype]
    if c["ones"]:
        return bytes.fromhex(ONES[dtype]) * elements
    number = 0xCBF29CE484222325
    names = f"{Path(c['folder']).name}/{name}#".encode() + index.to_bytes(8, "little")
    for byte in names:
        number = ((number ^ byte) * 0x100000001B3) & U64
    seed = c["seed"]
    key = mix(mix(seed + GAMMA) ^ mix(number * 0xD1290DDB53C43E49))
    blocks = np.arange(-(-length // 512), dtype=np.uint64)
    with np.errstate(over="ignore"):
        keys = mix_all(np.uint64(key) + blocks * np.uint64(GAMMA))
    words = table(seed)[(blocks % np.uint64(32)).astype(np.int64)] ^ keys[:, None]
    return words.tobytes()[:length]


def torch_tensors(path):
    import torch

    words = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}
    words |= {"int8": torch.int8, "uint8": torch.uint8}
    names = {value: key for key, value in words.items()}
    loaded = torch.load(path, weights_only=True)
    found = []

    def take(group, key, t):
        data = t.contiguous().view(torch.uint8).numpy().tobytes()
        found.append((group, key, names[t.dtype], tuple(t.shape), data))

    for key, value in loaded.items():
        if isinstance(value, dict):
            for inner, t in value.items():
                take(key, inner, t)
        else:
            take(None, key, value)
    return found


def npz_tensors(path):
    names = {"float16": "fp16", "uint16": "bf16", "float32": "fp32", "float64": "fp64", "int8": "int8", "uint8": "uint8"}
    found = []
    with np.load(path) as arrays:
        for name in arrays.files:
            group, _, key = name.rpartition("/")
            a = arrays[name]
            found.append((group or None, key, names[a.dtype.name], a.shape, a.tobytes()))
    return found


def check(case):
    c = CASE | case
    folder = Path(c["folder"])
    problems = []
    expected = {}
    for rank in range(c["ranks"]):
        expected |= files_of(c, rank)
    there = sorted(p.name for p in folder.iterdir())
    wanted = sorted(f"{name}.{c['container']}" for name in expected)
    if there != wanted:
        problems.append(f"{folder}: has {there}, expected {wanted}")
        return problems
    for name, tensors in expected.items():
        path = folder / f"{name}.{c['container']}"
        broken = zipfile.ZipFile(path).testzip()
        if broken:
            problems.append(f"{path}: the checksum of {broken} does not fit")
        found = torch_tensors(path) if c["container"] == "pt" else npz_tensors(path)
        if len(found) != len(tensors):
            problems.append(f"{path}: {len(found)} tensors, expected {len(tensors)}")
            continue
        for index, ((group, key, dtype, n), f) in enumerate(zip(tensors, found)):
            if f[:4] != (group, key, dtype, (n,)):
                problems.append(f"{path}: {f[:4]}, expected {(group, key, dtype, (n,))}")
            elif f[4] != content(c, name, index, dtype, n):
                problems.append(f"{path}: tensor {group}/{key} holds other bytes")
    return problems


def rewrite(case):
    import torch

    for path in Path(case["folder"]).glob("*.pt"):
        torch.save(torch.load(path, weights_only=True), path)


def main():
    words = [w for w in sys.argv[1:] if w != "--rewrite"]
    cases = json.loads(Path(words[0]).read_text())
    if "--rewrite" in sys.argv:
        for case in cases:
            rewrite(case)
        return
    problems = [p for case in cases for p in check(case)]
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


main()
