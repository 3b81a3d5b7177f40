#!/usr/bin/env bash
# fetch_criu.sh PREFIX: puts a CRIU that suits new kernels into PREFIX, with the libraries and the loader that it needs.
#
# Debian 12's CRIU cannot dump on Linux 6.13 and newer. The packages come from Debian 13, from the archive that this
# machine uses; apt gets package lists and folders of its own, so nothing is installed and no privilege is needed.
# PREFIX/criu is what to start. PREFIX appears as a whole or not at all.
set -euo pipefail

readonly suite=trixie
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly loader=lib64/ld-linux-x86-64.so.2
prefix=$(readlink -m "${1:?usage: fetch_criu.sh PREFIX}")

die() {
  echo "fetch_criu: $*" >&2
  exit 1
}

command -v apt-get >/dev/null || die "not a Debian system: install CRIU 4.1 or newer, or name one: EBB_CRIU=FILE"
archive=$(apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(LABEL)' 'Created-By: Packages' |
  sed -n 's/|Debian|Debian$//p' | head -n 1)
[ -n "$archive" ] || die "no Debian archive among this machine's package sources, or its lists were never fetched: apt-get update"

mkdir -p "$(dirname "$prefix")"
work=$(mktemp -d "$prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work"/{download,prefix/root}
echo "deb [arch=amd64 signed-by=$keyring] $archive $suite main" >"$work/apt/sources.list"
options=(-qq -o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=-
  -o "Dir::State::lists=$work/apt/lists" -o Dir::State::status=/dev/null -o "Dir::Cache=$work/apt/cache"
  -o Acquire::Languages=none -o APT::Sandbox::User=)
apt-get "${options[@]}" update

# What the programs need and not what their packages ask for besides (Python, compilers, documentation).
libraries() {
  apt-cache "${options[@]}" depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances --no-pre-depends "$@" | sed -n 's/^ *|\{0,1\}Depends: \(lib[^<>]*\)$/\1/p'
}
wanted=criu
for _ in 1 2 3 4 5 6; do
  more=$(printf '%s\n' $wanted $(libraries $wanted) | sort -u)
  [ "$more" != "$wanted" ] || break
  wanted=$more
done
(cd "$work/download" && apt-get "${options[@]}" download $wanted)
for package in "$work"/download/*.deb; do
  dpkg-deb -x "$package" "$work/prefix/root"
done
cd "$work/prefix"
# Packages since Debian 13 know /usr/lib only.
for folder in lib lib64; do
  [ -e "root/$folder" ] || ln -s "usr/$folder" "root/$folder"
done
rm -rf root/usr/share/{doc,man,locale,lintian} root/usr/include
[ -e "root/$loader" ] || die "the packages hold no loader: $loader"

# What is preloaded into the caller's programs was made for another C library.
cat >criu <<END
#!/bin/sh
# CRIU with its own C library: see snapshot/fetch_criu.sh of Ebbtide.
unset LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT
here=\$(dirname "\$(readlink -f "\$0")")/root
exec "\$here/$loader" --library-path "\$here/usr/lib/x86_64-linux-gnu:\$here/usr/lib" "\$here/usr/sbin/criu" "\$@"
END
chmod 755 criu
./criu --version >/dev/null || die "the CRIU of the packages does not start"
rm -rf "$prefix"
mv "$work/prefix" "$prefix"
