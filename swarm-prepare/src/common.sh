export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin:/usr/local/bin" ZYPP_LOCK_TIMEOUT=300
fail() { echo "$1" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
installed() { dockerd --version 2>/dev/null | sed -n 's/^Docker version \([^, ]*\).*/\1/p'; }
fits() { case "$1" in "$want"|"$want".*|"$want"+*|"$want"-*|"$want"~*|"$want"_*) return 0;; esac; return 1; }
# The first of these versions that is wanted; the first of all where none is asked for.
chosen() {
  for one in "$@"; do
    plain=${one#*:}; plain=${plain#v}
    if [ -z "$want" ] || fits "$plain"; then echo "$one"; return; fi
  done
}
packages() {
  if has apt-get && has dpkg-query; then echo apt
  elif has dnf; then echo dnf
  elif has zypper; then echo zypper
  elif has apk; then echo apk
  else echo none
  fi
}
# Keeps a package at its version, as far as the package manager can be made to, and lets it go.
pin() {
  case $(packages) in
    apt) apt-mark -qq hold "$1" >&2;;
    zypper) zypper -q -n addlock "$1" >&2;;
    dnf) dnf -q -y versionlock add "$1" >/dev/null 2>&1;;
    *) false;;
  esac
}
unpin() {
  case $(packages) in
    apt) apt-mark -qq unhold "$1";;
    zypper) zypper -q -n removelock "$1";;
    dnf) dnf -q -y versionlock delete "$1";;
  esac >/dev/null 2>&1 </dev/null || true
}
# What another package manager holds is waited for, five minutes at most; everything else that fails fails at once.
patiently() {
  tries=0
  until out=$("$@" 2>&1 </dev/null); do
    tries=$((tries + 1))
    case $out in
      *"Could not get lock"*|*"lock was locked"*|*"Unable to lock"*|*"management is locked"*) [ "$tries" -lt 100 ] || { echo "$out" >&2; return 1; }; sleep 3;;
      *) echo "$out" >&2; return 1;;
    esac
  done
}
# The versions of a package, the newest first.
zypper_offers() { zypper -q -n search -s --match-exact "$1" 2>/dev/null | tr -d ' ' | awk -F '|' -v p="$1" '$2 == p && $3 == "package" { print $4 }'; }
