"""How fast the state is hashed: permutations, and leaf updates of the tree over the memory.

    python benchmarks/state_tree.py [--leaves 100000]

Prints medians on one core, and a digest of the final roots, so that two runs can be compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from entresol.crypto import state_hash
from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.machine.memory import Memory
from entresol.machine.state_tree import StateTree

REPEATS = 7
FIRST_LEAF = layout.STATE_BASE // layout.LEAF_BYTES


def seconds(action: Callable[[], object]) -> float:
    """Median wall time of REPEATS runs after one that does not count."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def patterns(count: int) -> dict[str, np.ndarray]:
    """Named sets of about `count` dirty leaves within STATE."""
    random = np.random.default_rng(1)
    records = random.integers(0, 1 << 18, count // 8) * 8
    return {
        "one dense table": np.arange(count),
        "records of 256 B in 64 MiB": (records[:, None] + np.arange(8)).reshape(-1),
        "single leaves in 64 MiB": random.integers(0, 1 << 21, count),
        "single leaves in 1 GiB": random.integers(0, 1 << 25, count),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaves", type=int, default=100_000)
    count = parser.parse_args().leaves
    random = np.random.default_rng(2)
    data = random.integers(0, 256, (count, 32), np.uint8)
    words = state_hash.hash_leaves(data[: count // 2 * 2])
    for name, action, hashes in (
        ("leaves", lambda: state_hash.hash_leaves(data), count),
        ("nodes", lambda: state_hash.hash_nodes(words), count // 2),
    ):
        took = seconds(action)
        print(f"{name:<28} {hashes / took / 1e6:7.2f} M hashes/s  {took / hashes * 1e9:7.1f} ns")
    memory, tree, roots = Memory(), StateTree(), b""
    leaves = memory.array.reshape(-1, layout.LEAF_BYTES)
    for name, numbers in patterns(count).items():
        dirty = FIRST_LEAF + np.unique(numbers)
        # Fresh bytes each time: the tree prunes what did not change.
        times = []
        for turn in range(REPEATS + 1):
            leaves[dirty] = random.integers(0, 256, (len(dirty), 32), np.uint8)
            start = time.perf_counter()
            tree.update(memory.base, dirty)
            times += [time.perf_counter() - start] if turn else []
        took = statistics.median(times)
        roots += tree.state_root
        print(f"{name:<28} {len(dirty):7} leaves  {took * 1e3:7.1f} ms  "
              f"{len(dirty) / took / 1e6:6.2f} M leaves/s")  # fmt: skip
    print(f"roots {keccak256(roots).hex()[:16]}")


if __name__ == "__main__":
    main()
