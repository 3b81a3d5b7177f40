# git: log, grep, fsck and repack of a repository made here.
# needs: git
# dram: 32M
setup() {
  git init -q repository
  cd repository
  git config user.name tester
  git config user.email tester@example.org
  export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
  for i in $(seq 40); do
    seq $((i * 1000)) $((i * 1000 + 30000)) >"file$((i % 7))"
    git add -A
    git commit -qm "change $i"
  done
}
work() {
  cp -r "$data/repository" .
  cd repository
  git log --stat --format=%H%n%s
  git grep -c 77 || true
  git fsck --full --no-progress
  git -c pack.threads=2 repack -adfq --window=50 --depth=50
  git fsck --full --no-progress
  git log -p | sha256sum
}
