# samtools: view, sort with two threads and index of a generated SAM file.
# needs: samtools awk
# dram: 64M
# evicts: yes
setup() {
  awk 'BEGIN { print "@HD\tVN:1.6\tSO:unsorted"; print "@SQ\tSN:chr1\tLN:100000000"; s = 7; q = sprintf("%100s", ""); gsub(/ /, "I", q);
    for (i = 0; i < 700000; ++i) { s = (s * 16807) % 2147483647; b = ""; t = s; for (k = 0; k < 25; ++k) { b = b substr("ACGTACGTTGCAGGTA", t % 13 + 1, 4); t = int(t / 3) + k }
      printf "r%d\t0\tchr1\t%d\t60\t100M\t*\t0\t0\t%s\t%s\n", i, s % 99999000 + 1, b, q } }' >reads.sam
}
work() {
  samtools sort --no-PG -@ 1 -m 200M -l 1 -T . -o out/sorted.bam "$data/reads.sam"
  samtools index out/sorted.bam
  samtools view out/sorted.bam | sha256sum
  samtools flagstat out/sorted.bam
}
