"""The demo's analysis in Python, in the steps that Scanpy made usual, on the counts that demo/make_counts.py wrote:
normalise (Numba), log1p, variable genes, PCA, nearest neighbours, Leiden clusters. Nothing in it knows about memory
tiers.

    anndata_pipeline.py FOLDER OUT

Progress goes to stdout as lines that begin with "==". OUT becomes a folder of .npy files: two runs whose files are
equal byte by byte computed the same thing.
"""

import hashlib
import os
import random
import sys

import anndata
import igraph
import leidenalg
import numba
import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

TARGET = 10_000.0
VARIABLE_GENES = 2000
COMPONENTS = 20
NEIGHBOURS = 15


def stage(*words):
    print("==", *words, flush=True)


def read_counts(folder):
    indptr = np.fromfile(os.path.join(folder, "indptr.i32"), "<i4")
    indices = np.fromfile(os.path.join(folder, "indices.i32"), "<i4")
    counts = np.fromfile(os.path.join(folder, "counts.i16"), "<i2").astype(np.float32)
    with open(os.path.join(folder, "genes.txt"), encoding="utf-8") as lines:
        genes = [line.strip() for line in lines]
    cells = [f"cell{i:06d}" for i in range(len(indptr) - 1)]
    matrix = scipy.sparse.csr_matrix((counts, indices, indptr), shape=(len(cells), len(genes)))
    return anndata.AnnData(matrix, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes), dtype=np.float32)


@numba.njit
def normalise_total(indptr, data, target):
    for row in range(len(indptr) - 1):
        begin, end = indptr[row], indptr[row + 1]
        total = 0.0
        for k in range(begin, end):
            total += data[k]
        if total > 0:
            scale = target / total
            for k in range(begin, end):
                data[k] = data[k] * scale


@numba.njit
def gene_moments(indptr, indices, data, genes):
    """Mean and variance of expm1(data) of every gene."""
    sums = np.zeros(genes)
    squares = np.zeros(genes)
    for k in range(indptr[-1]):
        value = np.expm1(data[k])
        sums[indices[k]] += value
        squares[indices[k]] += value * value
    cells = len(indptr) - 1
    mean = sums / cells
    return mean, (squares - cells * mean * mean) / (cells - 1)


def variable_genes(x):
    """Dispersion normalised within bins of similar mean, the highest first."""
    mean, variance = gene_moments(x.indptr, x.indices, x.data, x.shape[1])
    mean[mean == 0] = 1e-12
    table = pd.DataFrame({"mean": np.log1p(mean), "dispersion": np.log(np.maximum(variance / mean, 1e-12))})
    grouped = table.groupby(pd.cut(table["mean"], bins=20))["dispersion"]
    spread = grouped.transform("std").replace(0.0, np.nan).fillna(1.0)
    score = ((table["dispersion"] - grouped.transform("mean")) / spread).to_numpy()
    chosen = np.zeros(len(score), bool)
    chosen[np.argsort(-score, kind="stable")[:VARIABLE_GENES]] = True
    return chosen


def scaled(x):
    dense = x.toarray()
    dense -= dense.mean(axis=0)
    deviation = dense.std(axis=0, ddof=1)
    deviation[deviation == 0] = 1
    dense /= deviation
    return np.clip(dense, None, 10, out=dense)


def leiden(distances):
    """Clusters of the neighbour graph, its edges weighted by how many neighbours two cells share."""
    graph = distances.astype(bool).astype(np.float32)
    shared = (graph @ graph.T).multiply(graph)
    sources, targets = scipy.sparse.triu(shared.maximum(shared.T), k=1).nonzero()
    network = igraph.Graph(n=graph.shape[0], edges=np.column_stack((sources, targets)))
    weights = np.asarray(shared.maximum(shared.T).tocsr()[sources, targets]).ravel().astype(float)
    found = leidenalg.find_partition(network, leidenalg.RBConfigurationVertexPartition, weights=weights,
                                     n_iterations=2, seed=0)
    return np.array(found.membership, np.int32)


def digest(array):
    return np.frombuffer(hashlib.blake2b(np.ascontiguousarray(array), digest_size=16).digest(), np.uint8)


def main():
    folder, out = sys.argv[1:]
    random.seed(0)
    np.random.seed(0)

    stage("read counts")
    data = read_counts(folder)
    data.layers["counts"] = data.X.copy()

    stage("normalise")
    normalise_total(data.X.indptr, data.X.data, TARGET)
    np.log1p(data.X.data, out=data.X.data)
    data.raw = data

    stage("variable genes")
    data.var["highly_variable"] = variable_genes(data.X)
    chosen = data[:, data.var["highly_variable"]].copy()

    stage("scale")
    chosen.X = scaled(chosen.X)

    stage("PCA")
    pca = PCA(COMPONENTS, svd_solver="arpack", random_state=0)
    chosen.obsm["X_pca"] = pca.fit_transform(chosen.X)

    stage("neighbours")
    search = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(chosen.obsm["X_pca"])
    chosen.obsp["distances"] = search.kneighbors_graph(mode="distance")

    stage("clusters")
    clusters = leiden(chosen.obsp["distances"])
    data.obs["leiden"] = pd.Categorical(clusters)

    stage("results")
    os.makedirs(out, exist_ok=True)
    results = {
        "pca": chosen.obsm["X_pca"], "loadings": pca.components_, "clusters": clusters,
        "variable_genes": data.var["highly_variable"].to_numpy(), "neighbours": chosen.obsp["distances"].indices,
        "distances": chosen.obsp["distances"].data,
        "matrices": np.stack([digest(m) for m in (data.layers["counts"].data, data.X.data, data.X.indices,
                                                  data.raw.X.data, chosen.layers["counts"].data, chosen.X)]),
    }
    for name, array in results.items():
        np.save(os.path.join(out, name + ".npy"), array)
    stage(clusters.max() + 1, "clusters of", data.n_obs, "cells")


if __name__ == "__main__":
    main()
