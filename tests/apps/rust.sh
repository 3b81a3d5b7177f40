# A Rust program: vectors, a hash map with fixed keys and threads beyond the budget.
# needs: rustc
# dram: 64M
# evicts: yes
setup() {
  export HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  cat >small.rs <<'P'
use std::collections::BTreeMap;
use std::thread;
fn main() {
    let t: Vec<_> = (0..2u64).map(|id| thread::spawn(move || {
        let mut v: Vec<u64> = Vec::new();
        for i in 0..12_000_000u64 { v.push(i.wrapping_mul(0x9e3779b97f4a7c15) ^ id); }
        v.sort_unstable();
        let mut m = BTreeMap::new();
        for (i, x) in v.iter().enumerate().step_by(50) { m.insert(x % 100_003, vec![i as u64; 20]); }
        m.values().map(|x| x.iter().sum::<u64>()).fold(v[v.len() / 2], |a, b| a.wrapping_add(b))
    })).collect();
    for x in t { println!("{}", x.join().unwrap()); }
}
P
  rustc -O small.rs -o small || { echo "rustc does not work here"; exit 77; }
}
work() { "$data/small"; }
