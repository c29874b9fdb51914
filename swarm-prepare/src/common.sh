export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin:/usr/local/bin" ZYPP_LOCK_TIMEOUT=300
fail() { echo "$1" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
installed() { dockerd --version 2>/dev/null | sed -n 's/^Docker version \([^, ]*\).*/\1/p'; }
fits() { case "$1" in "$want"|"$want".*|"$want"+*|"$want"-*|"$want"~*|"$want"_*) return 0;; esac; return 1; }
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
