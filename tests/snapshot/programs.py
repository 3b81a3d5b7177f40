"""Real programs that are frozen and brought back, and go on as if nothing had been: programs.py EBB COUNTER [CYCLES].

With CYCLES: that many times in a row for each, instead of twice.
"""
import os
import pty
import shutil
import signal
import subprocess
import sys

import job
from job import EBB, PYTHON, ROOT, Job, check, check_equal, ebb, restored

CYCLES = int(sys.argv[3]) if len(sys.argv) > 3 else 2
THREADS = 50

# Each thread changes its part of the heap at each line; the answer is a sum over all, with garbage made on the way.
JAVA = """
import java.io.*;
import java.util.*;
import java.util.concurrent.*;
public class Threads {
  public static void main(String[] words) throws Exception {
    int count = Integer.parseInt(words[0]);
    CyclicBarrier begin = new CyclicBarrier(count + 1), end = new CyclicBarrier(count + 1);
    long[] sums = new long[count];
    for (int t = 0; t < count; t++) {
      final int me = t;
      Thread thread = new Thread(() -> {
        int[] data = new int[20000];
        Map<String, Integer> map = new HashMap<>();
        try {
          for (int round = 0;; round++) {
            begin.await();
            for (int i = 0; i < data.length; i++) data[i] += (i ^ me) + round;
            map.put("round " + round % 100, round);
            sums[me] = map.size();
            for (int value : data) sums[me] = sums[me] * 31 + value;
            end.await();
          }
        } catch (InterruptedException | BrokenBarrierException e) {
        }
      });
      thread.setDaemon(true);
      thread.start();
    }
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    while (in.readLine() != null) {
      begin.await();
      end.await();
      System.out.println(Arrays.hashCode(sums));
      System.out.flush();
    }
    System.exit(5);
  }
}
"""

# Writes so many records at each line of its input, and says so beside the pipe to the next program.
RECORDS = """
import os, sys
print("@HD\\tVN:1.6\\n@SQ\\tSN:chr1\\tLN:100000000", flush=True)
at = 1
for line in sys.stdin:
    out = []
    for i in range(5000):
        at = at * 48271 % 2147483647
        out.append(f"r{at}\\t0\\tchr1\\t{at % 99999000 + 1}\\t60\\t50M\\t*\\t0\\t0\\t{'ACGTC' * 10}\\t{'I' * 50}\\n")
    sys.stdout.write("".join(out))
    sys.stdout.flush()
    os.write(3, b"written\\n")
"""


def cycles(program, tag, ask):
    for cycle in range(1, CYCLES + 1):
        program.freeze(tag, "--replace")
        pid, program = program.pid, restored(tag)
        ask(program, f"{tag}, cycle {cycle}")
        program.pid = pid  # it is the child of `ebb restore`
    return program


def compare_with_other(start, tag, line, code):
    """The same program that nobody freezes says what is right, step by step."""
    program, other = start(), start()
    check_equal(program.ask(line), other.ask(line), f"{tag} at first")
    program = cycles(program, tag, lambda again, what: check_equal(again.ask(line), other.ask(line), what))
    check_equal((program.end(), other.end()), (code, code), f"{tag}: exit codes")


def missing(program):
    if shutil.which(program):
        return False
    print(f"SKIP: no {program}")
    return True


def written(name, text):
    path = os.path.join(ROOT, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def java():
    if missing("java"):
        return
    source = written("Threads.java", JAVA)
    if shutil.which("javac"):
        subprocess.run(["javac", "-d", ROOT, source], check=True)
        words = ["-cp", ROOT, "Threads"]
    else:
        words = [source]
    compare_with_other(lambda: Job(["java", "-Xmx256m", *words, str(THREADS)]), "java", "go", 5)


def samtools():
    if missing("samtools"):
        return
    script = written("records.py", RECORDS)

    def started(name):
        temporary = os.path.join(ROOT, name)  # sort spills into it
        return Job(["sh", "-c", f"exec 3>&1; {PYTHON} {script} | samtools sort -m 1M -@ 2 -T {temporary} - 2> /dev/null "
                    f"| samtools view - | tee {temporary}.sam | md5sum; exit 4"])
    program, other = started("sorted"), started("other")
    for one in (program, other):
        check_equal(one.ask("go"), "written", "samtools at first")

    def ask(again, what):
        check_equal((again.ask("go"), other.ask("go")), ("written", "written"), what)

    program = cycles(program, "samtools", ask)
    sums = []
    for one in (program, other):
        one.process.stdin.close()
        sums.append(one.process.stdout.readline())
        check_equal(one.process.wait(), 4, "samtools: exit code")
    check_equal(sums[0], sums[1], "what samtools sorted")
    with open(os.path.join(ROOT, "sorted.sam"), "rb") as file:
        check_equal(sum(1 for _ in file), 5000 * (CYCLES + 1), "records that samtools sorted")


class OnTerminal:
    """A command on a pseudo terminal of its own; what is typed comes back, before the answer."""

    def __init__(self, *command):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.closerange(3, 4096)  # whatever the test itself was started with: the log of ctest grows
            os.execvp(command[0], command)
        os.set_inheritable(self.terminal, False)
        self.seen = b""

    def read_until(self, word):
        while word not in self.seen:
            try:
                self.seen += os.read(self.terminal, 4096)
            except OSError as error:  # nobody has it any more
                raise RuntimeError(f"no {word} in {self.seen}") from error
        at = self.seen.index(word) + len(word)
        answer, self.seen = self.seen[:at], self.seen[at:]
        return answer

    def ask(self, line, answer):
        os.write(self.terminal, line.encode() + b"\r")
        return self.read_until(answer.encode())

    def ended(self):
        """Its exit code; the terminal is read meanwhile, or the end of its users could wait for room in it."""
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:
            pass
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def interactive(tag, command, prompt, first, step, value, leave):
    """A counter in a session at a prompt, with line editing; each time on another terminal."""
    shell = OnTerminal("sh", "-c", "trap '' TTOU; " + command + "; exit 9")
    shell.read_until(prompt)
    shell.ask(first, value(1))
    with open(f"/proc/{shell.pid}/task/{shell.pid}/children", encoding="utf-8") as file:
        program = file.read().strip()
    front = shell
    for cycle in range(2, CYCLES + 2):
        done = ebb("snapshot", program, tag, "-q", "--replace")
        if done.returncode != 0:
            raise RuntimeError(f"{tag}, cycle {cycle}: {done.stderr}")
        check_equal(front.ended(), 9 if front is shell else 128 + signal.SIGKILL, f"{tag}: end of who waited for it")
        front = OnTerminal(EBB, "restore", tag)
        front.ask(step, value(cycle))
    os.write(front.terminal, leave.encode() + b"\r")
    check_equal(front.ended(), 3, f"{tag}: exit code")


def interactive_python():
    interactive("python", f"{PYTHON} -q", b">>> ", "import os; n = 1; print('n', '=', n)", "n += 1; print('n', '=', n)",
                lambda n: f"n = {n}\r\n", "raise SystemExit(3)")


def interactive_r():
    if missing("R"):
        return
    interactive("r-session", "R --vanilla --quiet", b"> ", "n <- 1; cat('n', '=', n, '\\n')",
                "n <- n + 1; cat('n', '=', n, '\\n')", lambda n: f"n = {n} \r\n", "quit(status = 3)")


def interactive_shell():
    """Without job control: for that it keeps /dev/tty open, which is refused (see refused.py)."""
    interactive("shell", "PS1='$ ' dash +m -i", b"$ ", "n=1; echo n = $n", "n=$((n + 1)); echo n = $n", lambda n: f"n = {n}\r\n",
                "exit 3")


job.require_criu()
job.run_all([java, samtools, interactive_python, interactive_r, interactive_shell], 100 + 10 * CYCLES)
