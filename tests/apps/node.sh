# Node: objects, typed arrays and strings beyond the budget.
# needs: node
# dram: 64M
work() {
  node -e '
    const crypto = require("crypto"), m = new Map(), keep = [];
    for (let i = 0; i < 300000; ++i) m.set("key" + i, { i, text: "x".repeat(i % 50) });
    for (let i = 0; i < 40; ++i) keep.push(Buffer.alloc(4 << 20, i));
    const h = crypto.createHash("sha256");
    for (const b of keep) h.update(b);
    let s = 0;
    for (const [k, v] of m) s += v.i + v.text.length + k.length;
    console.log(h.digest("hex"), s);'
}
