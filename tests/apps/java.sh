# A Java program with a heap larger than the budget, two threads and several collections.
# needs: java
# dram: 96M
work() {
  cat >Small.java <<'P'
import java.util.*;
public class Small {
  public static void main(String[] a) throws Exception {
    long[] sums = new long[2];
    Thread[] t = new Thread[2];
    for (int k = 0; k < 2; ++k) {
      final int id = k;
      t[k] = new Thread(() -> {
        Map<Integer, byte[]> m = new HashMap<>();
        for (int i = 0; i < 20000; ++i) {
          byte[] b = new byte[10000];
          Arrays.fill(b, (byte) (i + id));
          m.put(i % 6000, b);
        }
        for (byte[] b : m.values()) for (byte x : b) sums[id] += x;
      });
      t[k].start();
    }
    for (Thread x : t) x.join();
    System.out.println(sums[0] + " " + sums[1]);
  }
}
P
  java -Xmx256m Small.java
}
