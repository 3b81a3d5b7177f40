# Python with NumPy: matrix work, sorting and masks over 300 MB.
# needs: /usr/bin/python3
# dram: 96M
# evicts: yes
setup() { /usr/bin/python3 -c 'import numpy' 2>/dev/null || { echo "no NumPy for /usr/bin/python3"; exit 77; }; }
work() {
  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 /usr/bin/python3 - <<'P'
import hashlib
import numpy as np
show = lambda name, a: print(name, a.dtype, a.shape, hashlib.sha256(np.ascontiguousarray(a).data).hexdigest())
rng = np.random.default_rng(1)
a = rng.random((5000, 4000))
show("random", a)
b = a.T.copy()
show("transposed", b)
show("product", a[:600] @ b[:, :600])
a *= 2.0
a[a > 1.5] = 0
show("masked", a)
show("sorted", np.sort(b, axis=1)[::50])
show("sums", a.cumsum(axis=0)[-1])
pieces = [rng.integers(0, 1000, 250000) for _ in range(60)]
del a
show("joined", np.unique(np.concatenate(pieces), return_counts=True)[1])
words = {str(i): [i, str(i * 7)] for i in range(300000)}
print(sum(len(v[1]) for v in words.values()))
P
}
