# A program that has jemalloc preloaded already.
# needs: /usr/bin/python3
# dram: 64M
setup() {
  jemalloc=$(ls /usr/lib/*/libjemalloc.so.2 2>/dev/null | head -n 1)
  [ -n "$jemalloc" ] || { echo "no libjemalloc.so.2 here (package libjemalloc2)"; exit 77; }
  echo "$jemalloc" >library
}
work() {
  # Ours stays in front, as `ebb run` puts it.
  LD_PRELOAD="${LD_PRELOAD-} $(cat "$data/library")" /usr/bin/python3 -c '
import hashlib
data = [bytes([i % 251]) * 50000 for i in range(4000)]
more = {i: str(i) * 10 for i in range(200000)}
print(hashlib.sha256(b"".join(data)).hexdigest(), sum(map(len, more.values())))'
}
