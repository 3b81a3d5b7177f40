#!/bin/busybox sh
# First process of the lab's virtual machine (run.py makes its file system): sets up persistent memory, a NUMA node
# without CPUs and a disk, runs Ebbtide on them, and tells the serial console in TAP, with `lab: done` as last line.
#
#   /lab/modules   kernel modules, in the order to load        /lab/paged   yes: this kernel can page; no: it is too old
#   /lab/plan      NAME DRAM TIMEOUT cold|- ARGUMENT... of each test program in /lab/programs
export PATH=/sbin:/bin HOME=/root LC_ALL=C
readonly ebb=/opt/ebbtide/bin/ebb
readonly untiered='^ebbtide: .*without tiering'  # the runtime's line; `ebb run` has a warning of its own
count=0
paged=$(/bin/busybox cat /lab/paged)

ok() { count=$((count + 1)); echo "ok $count - $*"; }
not_ok() { count=$((count + 1)); echo "not ok $count - $*"; }
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }
note() { sed 's/^/# /'; }

# check WHAT COMMAND...: the command succeeds; its output is shown when it does not.
check() {
  what=$1
  shift
  if "$@" >/tmp/check 2>&1; then ok "$what"; else
    not_ok "$what: exit code $?"
    note </tmp/check
  fi
}

# counter NAME: a number of the last report.
counter() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" /tmp/report | head -n 1; }

prepare() {
  /bin/busybox --install -s /bin
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs devtmpfs /dev
  mkdir -p /dev/shm
  mount -t tmpfs tmpfs /dev/shm
  mount -t tmpfs tmpfs /tmp
  ln -s /proc/mounts /etc/mtab
  while read -r module; do insmod "$module" || not_ok "insmod $module"; done </lab/modules
  echo "# booted: Linux $(uname -r)"
}

disk() { mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt/disk && mkdir /mnt/disk/tier /mnt/disk/work; }

pmem() {
  ndctl create-namespace -f -e namespace0.0 -m fsdax -a 2M && mkfs.ext4 -q -F -b 4096 /dev/pmem0 &&
    mount -t ext4 -o dax=always /dev/pmem0 /mnt/pmem && grep -q ' /mnt/pmem ext4 .*dax=always' /proc/mounts &&
    mkdir /mnt/pmem/tier
}

# Leaves the number of the node in $node.
node=
numa_node() {
  ndctl create-namespace -f -e namespace1.0 -m devdax -a 2M && daxctl reconfigure-device -f --mode=system-ram dax1.0 ||
    return
  for n in /sys/devices/system/node/node[1-9]*; do
    if [ -z "$(cat "$n/cpulist")" ] && ! grep -q 'MemTotal: *0 kB' "$n/meminfo"; then node=${n##*/node}; fi
  done
  [ -n "$node" ]
}

doctor() {
  $ebb doctor >/tmp/doctor 2>&1
  code=$?
  note </tmp/doctor
  if [ "$paged" = yes ]; then
    if [ "$code" = 0 ]; then ok "doctor: programs can be paged here"; else not_ok "doctor: exit code $code"; fi
  elif [ "$code" = 1 ] && grep -q '^fail  kernel .*' /tmp/doctor; then ok "doctor: this kernel is too old"; else
    not_ok "doctor: exit code $code, or it does not fault the kernel"
  fi
  check "doctor sees the DAX file system" grep -q '/mnt/pmem (ext4)' /tmp/doctor
  check "doctor sees the NUMA node without CPUs" grep -q "node$node (.*) has memory and no CPUs" /tmp/doctor
}

# compare TIER FOLDER NAME DRAM TIMEOUT COLD ARGUMENT...: one program, bare and in a budget.
compare() {
  tier=$1 folder=$2 name=$3 dram=$4 limit=$5 cold=$6
  shift 6
  cd /mnt/disk/work || return
  timeout -s KILL "$limit" "/lab/programs/$name" "$@" </dev/null >/tmp/bare 2>/tmp/err
  bare=$?
  if [ $bare = 77 ]; then
    skip "$tier: $name" "$(head -n 1 /tmp/bare)"
    return
  fi
  rm -f /tmp/report
  # The programs read the budget as it was given. (env is static here, which a warning tells.)
  timeout -s KILL "$limit" $ebb run -d "$dram" -s "file:$folder" --report /tmp/report -- \
    env "EBB_DRAM=$dram" "/lab/programs/$name" "$@" </dev/null >/tmp/ours 2>/tmp/err
  ours=$?
  wrong=
  [ $ours = $bare ] || wrong="$wrong; exit code $ours instead of $bare"
  cmp -s /tmp/bare /tmp/ours || wrong="$wrong; the output differs"
  [ -z "$(ls "$folder")" ] || wrong="$wrong; files left on the tier"
  for trouble in read_errors write_errors damaged_pages; do
    [ "$(counter $trouble)" = 0 ] || wrong="$wrong; $trouble: $(counter $trouble)"
  done
  if [ "$paged" = yes ]; then
    [ "$cold" = - ] || [ "$(counter evicted_bytes)" -gt 0 ] || wrong="$wrong; nothing was evicted"
  elif [ "$(counter evicted_bytes)" != 0 ]; then wrong="$wrong; evicted, on a kernel that cannot"; fi
  if [ -z "$wrong" ]; then ok "$tier: $name, $(counter evicted_bytes) bytes evicted, $(counter loaded_bytes) loaded"
  else
    not_ok "$tier: $name${wrong#;}"
    note </tmp/err
  fi
}

# cold_perl SPEC FOLDER: a program that takes more than its budget and looks at its own mappings. Leaves $code.
cold_perl() {
  rm -f /tmp/report
  timeout -s KILL 600 $ebb run -d 64M -s "$1" --report /tmp/report -- perl -w /lab/kind.pl "$2" >/tmp/ours 2>/tmp/err
  code=$?
}

# kind TIER FOLDER: which way pages travel to a tier and back, or that nothing travels and one line says so.
kind() {
  cold_perl "file:$2" "$2"
  if [ $code != 0 ]; then wrong="exit code $code"
  elif [ "$paged" = no ] && [ "$(counter evicted_bytes)" != 0 ]; then wrong="evicted, on a kernel that cannot"
  elif [ "$paged" = no ] && [ "$(grep -c "$untiered" /tmp/err)" != 1 ]; then wrong="not one line about it"
  elif [ "$paged" = yes ] && [ "$(counter evicted_bytes)" = 0 ]; then wrong="nothing was evicted"
  else
    [ "$paged" = no ] || ok "$1: perl with cold memory; the tier is $(cat /tmp/ours)"
    [ "$paged" = yes ] || ok "$1: perl runs untiered and is told in one line: $(grep "$untiered" /tmp/err)"
    return
  fi
  not_ok "$1: perl with cold memory: $wrong"
  note </tmp/err
}

# other_tier SPEC: one that `ebb run` may refuse, with the reason and before it starts anything; else the program runs.
other_tier() {
  cold_perl "$1" /none
  if [ $code = 125 ] && [ ! -s /tmp/ours ] && grep -q 'error: ' /tmp/err; then skip "$1" "$(grep 'error: ' /tmp/err)"
  elif [ $code = 0 ]; then ok "$1: $(counter evicted_bytes) bytes evicted"; else
    not_ok "$1: exit code $code"
    note </tmp/err
  fi
}

prepare
check "a disk with ext4" disk
check "persistent memory with ext4 -o dax=always" pmem
check "a NUMA node without CPUs" numa_node
doctor
kind pmem /mnt/pmem/tier
kind disk /mnt/disk/tier
while read -r line; do
  # shellcheck disable=SC2086  # a line is a list of words
  compare pmem /mnt/pmem/tier $line
  # shellcheck disable=SC2086
  compare disk /mnt/disk/tier $line
done </lab/plan
other_tier "dax:/mnt/pmem/tier"
other_tier "numa:$node"
dmesg | grep -E 'BUG:|WARNING:|Oops' >/tmp/check
if [ -s /tmp/check ]; then
  not_ok "the kernel has nothing to complain of"
  dmesg | grep -A 40 -m 1 -E 'BUG:|WARNING:|Oops' | note
else ok "the kernel has nothing to complain of"; fi
echo "1..$count"
echo "lab: done"
sync
reboot -f
