# grep, sed, awk and sort over 200 MB of text.
# needs: grep sed awk sort
# dram: 64M
# evicts: yes
setup() { awk 'BEGIN { s = 1; for (i = 0; i < 5000000; ++i) { s = (s * 16807) % 2147483647; printf "%d line %d of text\n", s, i } }' >text; }
work() {
  grep -c '77.* of' "$data/text"
  grep -oE '99[0-9]+' "$data/text" | sha256sum
  sed -n 's/line \([0-9]*\) of/row \1/p' "$data/text" | sha256sum
  awk '{ n[$1 % 200000] += $3 } END { for (i = 0; i < 200000; ++i) print i, n[i] }' "$data/text" | sha256sum
  sort --parallel=2 -S 180M -T . "$data/text" | sha256sum
  tac "$data/text" | sha256sum
}
