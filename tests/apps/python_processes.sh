# Python's subprocess, multiprocessing (fork) and threads, out of a process larger than the budget.
# needs: /usr/bin/python3
# dram: 64M
# evicts: yes
work() {
  /usr/bin/python3 - <<'P'
import multiprocessing, subprocess, threading, hashlib
data = [bytes([i % 251]) * 100000 for i in range(1500)]
digest = lambda part: hashlib.sha256(b"".join(data[part::4])).hexdigest()
def work(part):
    own = bytearray(20 << 20)
    for i in range(0, len(own), 4096):
        own[i] = part + 1
    return digest(part), sum(own)
print(subprocess.run(["sh", "-c", "echo child"], capture_output=True).stdout)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(work, range(4)))
results = [None] * 4
def thread(i):
    results[i] = digest(i)
threads = [threading.Thread(target=thread, args=(i,)) for i in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
print(results)
print([subprocess.run(["true"]).returncode for _ in range(5)])
P
}
