"""The contents of generated samples, computed independently of dlio-rs.

A table of 32 rows of 64 random words comes from the seed; block j of a file (512 bytes) is row j mod 32, every word XORed
with a key made of the seed, the file's number and j. See src/plan/fill.rs for why.
"""

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
BLOCK = 512
ROWS = 32


def mix(words):
    """splitmix64's finaliser on an array of uint64."""
    z = np.atleast_1d(np.asarray(words, dtype=np.uint64)).copy()
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def one(word):
    """The same for one Python integer."""
    return int(mix(np.array([word & MASK], dtype=np.uint64))[0])


def fill(seed, file, offset, length):
    """`length` bytes from `offset` of the fill of file number `file` (over train, then valid)."""
    state = one(seed ^ 0x5851F42D4C957F2D)
    states = [(state + GAMMA * (i + 1)) & MASK for i in range(ROWS * BLOCK // 8)]
    table = mix(np.array(states, dtype=np.uint64)).reshape(ROWS, BLOCK // 8)
    key = one(one(seed + GAMMA) ^ one((file * 0xD1290DDB53C43E49) & MASK))
    first, last = offset // BLOCK, (offset + length + BLOCK - 1) // BLOCK
    numbers = np.arange(first, last, dtype=np.uint64)
    with np.errstate(over="ignore"):
        keys = mix(np.uint64(key) + numbers * np.uint64(GAMMA)) if len(numbers) else numbers
    rows = table[(numbers % np.uint64(ROWS)).astype(np.int64)]
    blocks = (rows ^ keys[:, None]).astype("<u8").view(np.uint8).reshape(-1)
    start = offset - first * BLOCK
    return blocks[start : start + length]
