# cmake and ninja: a small C++ project is configured, built on two processors, and run.
# needs: cmake ninja g++
# dram: 64M
setup() {
  mkdir project
  for i in $(seq 8); do
    printf '#include <map>\n#include <string>\n#include <vector>\nint part%d() { std::map<std::string, std::vector<int>> m; for (int i = 0; i < 1000; ++i) m[std::to_string(i %% 37)].push_back(i * %d); int s = 0; for (auto& [k, v] : m) for (int x : v) s += x; return s; }\n' "$i" "$i" >"project/part$i.cc"
  done
  { seq -f 'int part%g();' 8; echo '#include <cstdio>'; echo 'int main() {'; seq -f '  std::printf("%%d\n", part%g());' 8; echo '}'; } >project/main.cc
  { echo 'cmake_minimum_required(VERSION 3.20)'; echo 'project(small CXX)'; echo 'file(GLOB sources *.cc)'; echo 'add_executable(small ${sources})'; } >project/CMakeLists.txt
}
work() {
  cp -r "$data/project" .
  cmake -S project -B build -G Ninja -DCMAKE_BUILD_TYPE=Release >configured
  ninja -C build -j2 >built
  build/small
  cp build/small out/
}
