# A Go program, whose runtime maps memory without libc: survives, and prints the same.
# needs: go
# dram: 64M
setup() {
  printf 'package main\nimport "fmt"\nfunc main() { m := map[int][]byte{}; for i := 0; i < 100000; i++ { m[i%%5000] = make([]byte, 20000) }; n := 0; for _, b := range m { n += len(b) }; fmt.Println(n) }\n' >small.go
  GOCACHE=$PWD/cache go build -o small small.go
}
work() { "$data/small"; }
