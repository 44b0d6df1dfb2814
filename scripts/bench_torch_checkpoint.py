"""torch.save and torch.load of given tensors, by one process per rank at the same time; run by bench_checkpoint.py.

    bench_torch_checkpoint.py FOLDER '[[[bytes, ...], ...], ...]' FSYNC DROP

The list has one entry per rank, each a list of files, each a list of tensor sizes. Prints the seconds of the slowest
rank as {"save": s, "load": s}. FSYNC 1: files and folder are made durable inside the save. DROP 1: cached pages are
dropped before the load.
"""

import json
import multiprocessing
import os
import sys
import time


def rank(number, folder, files, fsync, drop, barrier, queue):
    import torch

    torch.set_num_threads(1)
    states = []
    for sizes in files:
        # Random bytes, as those of dlio-rs: storage that compresses must not tell the two apart.
        states.append({str(i): torch.randint(-128, 128, (n,), dtype=torch.int8) for i, n in enumerate(sizes)})
    paths = [os.path.join(folder, f"rank{number}-{i}.pt") for i in range(len(files))]
    barrier.wait()
    start = time.monotonic()
    for state, path in zip(states, paths):
        with open(path, "wb") as file:
            torch.save(state, file)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
    if fsync:
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    saved = time.monotonic() - start
    del states
    if drop:
        for path in paths:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    barrier.wait()
    start = time.monotonic()
    for path in paths:
        torch.load(path, weights_only=True)
    queue.put((saved, time.monotonic() - start))


def main():
    folder, ranks, fsync, drop = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "1", sys.argv[4] == "1"
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(len(ranks)), context.Queue()
    processes = [
        context.Process(target=rank, args=(number, folder, files, fsync, drop, barrier, queue))
        for number, files in enumerate(ranks)
    ]
    for process in processes:
        process.start()
    results = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    print(json.dumps({"save": max(s for s, _ in results), "load": max(s for _, s in results)}))


if __name__ == "__main__":
    main()
