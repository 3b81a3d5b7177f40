"""Scales the real expression profile of demo/profile.R up to a large single-cell count matrix.

    make_counts.py PROFILE.tsv FOLDER --cells N [--depth UMIS] [--clusters K] [--seed S]

Counts are negative binomial with the profile's means and dispersions, in K clusters with shifted marker genes, with
log-normal library sizes. Written to FOLDER as raw little-endian arrays, cell by cell, that R and Python both can read:

    genes.txt    one name a line
    indptr.i32   N + 1 offsets   (rows = cells: a CSR matrix in Python, the columns of a dgCMatrix in R)
    indices.i32  gene numbers, ascending within a cell
    counts.i16   the counts

The sampler: cells of one cluster and one library size class share every gene's distribution, so one uniform number per
cell and gene, compared with the probability of zero, gives the sparsity pattern, and the few numbers above it are
turned into counts by walking up the same distribution function. No draw is made for the zeros, which are most of it.
Genes with large means (a few hundred) are drawn directly.
"""

import argparse
import os
import sys

import numpy as np

LIBRARY_CLASSES = 12  # log-normal library sizes, by their quantiles
BATCH = 3000          # cells generated, shuffled and written at a time
DIRECT_MEAN = 6.0     # genes with a larger mean in any class are drawn directly
MAX_STEP = 40         # the distribution function is tabulated up to this count


def read_profile(path):
    names, mean, cv2 = [], [], []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, m, c = line.rstrip("\n").split("\t")
            names.append(name)
            mean.append(float(m))
            cv2.append(float(c))
    mean = np.array(mean)
    return names, mean / mean.sum(), np.clip(np.array(cv2), 0.1, 3.0)


def cluster_profiles(rng, mean, clusters):
    """Each cluster shifts one gene in twenty up or down, most by less than a factor of four."""
    profiles = np.tile(mean, (clusters, 1))
    for row in profiles:
        markers = rng.choice(len(mean), len(mean) // 20, replace=False)
        row[markers] *= np.exp(rng.normal(0.3, 0.9, len(markers)))
        row /= row.sum()
    return profiles


def library_sizes(depth):
    """Midpoints of equal shares of a log-normal distribution with that median."""
    draws = np.exp(np.random.default_rng(1).normal(np.log(depth), 0.35, 200_000))
    return np.array([part.mean() for part in np.array_split(np.sort(draws), LIBRARY_CLASSES)])


class Class:
    """The distribution of every gene in the cells of one cluster and one library size."""

    def __init__(self, mean, dispersion, direct):
        self.direct = direct
        self.shape = 1.0 / dispersion
        self.success = 1.0 / (1.0 + dispersion * mean)
        term = self.success**self.shape
        term[direct] = 2.0  # no uniform number is above: zeros here, filled in directly
        steps = [term.astype(np.float32)]
        total = term.copy()
        for k in range(1, MAX_STEP):
            term = term * ((k - 1 + self.shape) / k) * (1.0 - self.success)
            total += term
            steps.append(total.astype(np.float32))
        self.steps = np.stack(steps)  # P(count <= k) in row k

    def draw(self, rng, cells):
        """Returns (cell, gene, count) of the non-zero entries, in the order of cell, then gene."""
        uniform = rng.random((cells, self.steps.shape[1]), dtype=np.float32)
        dense = (uniform > self.steps[0]).astype(np.int16)
        spots = np.flatnonzero(dense)
        gene = (spots % uniform.shape[1]).astype(np.int32)
        left = uniform.reshape(-1)[spots]
        values = dense.reshape(-1)
        for k in range(1, MAX_STEP):
            above = np.flatnonzero(left > self.steps[k][gene])
            if len(above) == 0:
                break
            spots, gene, left = spots[above], gene[above], left[above]
            values[spots] += 1
        dense[:, self.direct] = np.minimum(
            rng.negative_binomial(self.shape[self.direct], self.success[self.direct], (cells, len(self.direct))), 32767)
        spots = np.flatnonzero(values)
        cell, gene = np.divmod(spots, uniform.shape[1])
        return cell, gene.astype(np.int32), values[spots]


def shuffled(rng, parts):
    """Rows of all parts in random order: (row lengths, genes, counts)."""
    lengths, genes, counts = [], [], []
    for cells, cell, gene, count in parts:
        lengths.append(np.bincount(cell, minlength=cells))
        genes.append(gene)
        counts.append(count)
    lengths = np.concatenate(lengths)
    order = rng.permutation(len(lengths))
    start = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    wanted = lengths[order]
    first = np.concatenate(([0], np.cumsum(wanted)[:-1]))
    take = np.arange(wanted.sum()) + np.repeat(start[order] - first, wanted)
    return wanted, np.concatenate(genes)[take], np.concatenate(counts)[take]


def generate(profile, folder, cells, depth, clusters, seed):
    rng = np.random.default_rng(seed)
    names, mean, dispersion = read_profile(profile)
    profiles = cluster_profiles(rng, mean, clusters)
    sizes = library_sizes(depth)
    direct = np.flatnonzero(profiles.max(axis=0) * sizes[-1] > DIRECT_MEAN)
    weights = np.arange(2, clusters + 2, dtype=float)  # rare and common cell types
    kind = rng.choice(clusters, cells, p=weights / weights.sum()) * LIBRARY_CLASSES
    kind += rng.integers(0, LIBRARY_CLASSES, cells)

    classes = {}
    indptr = [np.zeros(1, np.int64)]
    with open(os.path.join(folder, "indices.i32"), "wb") as indices, \
            open(os.path.join(folder, "counts.i16"), "wb") as counts:
        for begin in range(0, cells, BATCH):
            parts = []
            which, number = np.unique(kind[begin:begin + BATCH], return_counts=True)
            for k, n in zip(which, number):
                if k not in classes:
                    classes[k] = Class(profiles[k // LIBRARY_CLASSES] * sizes[k % LIBRARY_CLASSES], dispersion, direct)
                parts.append((n, *classes[k].draw(rng, n)))
            lengths, gene, count = shuffled(rng, parts)
            indptr.append(indptr[-1][-1] + np.cumsum(lengths))
            gene.astype("<i4").tofile(indices)
            count.astype("<i2").tofile(counts)
            print(f"== counts: {min(begin + BATCH, cells):,} of {cells:,} cells", flush=True)
    indptr = np.concatenate(indptr)
    if indptr[-1] >= 2**31:
        sys.exit("make_counts.py: more than 2^31 non-zero counts, which R cannot index: ask for fewer cells")
    indptr.astype("<i4").tofile(os.path.join(folder, "indptr.i32"))
    with open(os.path.join(folder, "genes.txt"), "w", encoding="utf-8") as out:
        out.writelines(name + "\n" for name in names)
    print(f"== counts: {len(names):,} genes x {cells:,} cells, {indptr[-1]:,} non-zero "
          f"({indptr[-1] / len(names) / cells:.1%})", flush=True)


def main():
    parser = argparse.ArgumentParser(description="a large single-cell count matrix from a small real profile")
    parser.add_argument("profile")
    parser.add_argument("folder")
    parser.add_argument("--cells", type=int, required=True)
    parser.add_argument("--depth", type=float, default=12_000, help="median counts per cell")
    parser.add_argument("--clusters", type=int, default=12)
    parser.add_argument("--seed", type=int, default=20)
    a = parser.parse_args()
    generate(a.profile, a.folder, a.cells, a.depth, a.clusters, a.seed)


if __name__ == "__main__":
    main()
