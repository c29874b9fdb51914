mode=$1; want=$2; shift 2
deb() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
rpm_has() { rpm -q "$1" >/dev/null 2>&1; }
if [ $# -gt 0 ]; then
  [ "$mode" = do ] || exit 0
  "$@" || fail "the command for the upgrade ended with status $?"
elif has apt-get && has dpkg-query && { deb docker-ce || deb docker.io; }; then
  if deb docker-ce; then package=docker-ce; also="docker-ce-cli docker-ce-rootless-extras"; else package=docker.io; also=docker-cli; fi
  patiently apt-get -qq -o DPkg::Lock::Timeout=300 update || fail "apt could not read its lists"
  offered=$(apt-cache madison "$package" | tr -d ' ' | cut -d '|' -f 2)
  version=$(chosen $offered)
  [ -n "$version" ] || fail "apt offers no $package $want; it offers $(echo $offered)"
  [ "$mode" = do ] || { echo "offers $version"; exit 0; }
  set -- "$package=$version"
  for one in $also; do
    if deb "$one" && apt-cache madison "$one" | tr -d ' ' | cut -d '|' -f 2 | grep -qxF -e "$version"; then set -- "$@" "$one=$version"; fi
  done
  apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    --allow-change-held-packages install "$@" >&2 || fail "apt could not install $*"
elif has rpm && { rpm_has docker-ce || rpm_has moby-engine || rpm_has docker; }; then
  if rpm_has docker-ce; then package=docker-ce; elif rpm_has moby-engine; then package=moby-engine; else package=docker; fi
  if has dnf; then
    offered=$(dnf -q list --showduplicates --available "$package" 2>/dev/null | awk -v p="$package." 'index($1, p) == 1 { print $2 }' | sed 's/^[0-9]*://' | sort -rV)
  elif has zypper; then
    patiently zypper -q -n refresh || fail "zypper could not read its repositories"
    offered=$(zypper_offers "$package")
  else fail "neither dnf nor zypper is here; give the command for the upgrade after --"
  fi
  version=$(chosen $offered)
  [ -n "$version" ] || fail "the repositories offer no $package $want; they offer $(echo $offered)"
  [ "$mode" = do ] || { echo "offers $version"; exit 0; }
  if has dnf; then
    kept=$(dnf -q versionlock list 2>/dev/null | grep -cE "(^|: )$package(-[0-9]|\$)")
    set -- dnf -q -y install "$package-$version"
    if rpm_has docker-ce-cli; then set -- "$@" "docker-ce-cli-$version"; fi
  else
    kept=$(zypper -q -n locks 2>/dev/null | tr -d ' ' | cut -d '|' -f 2 | grep -cxF -e "$package")
    set -- zypper -q -n install --oldpackage "$package=$version"
  fi
  # What was kept at its version is kept again, also where the new one does not come.
  [ "$kept" = 0 ] || unpin "$package"
  "$@" >&2
  status=$?
  [ "$kept" = 0 ] || pin "$package"
  [ "$status" = 0 ] || fail "$package $version could not be installed (\`$*\`)"
elif has apk && apk info -e docker-engine >/dev/null 2>&1; then
  [ "$mode" = do ] || exit 0
  apk --wait 300 add -q --update-cache "docker-engine~=$want" >&2 || fail "apk could not install docker-engine~=$want"
else fail "no package of this host holds its engine; give the command for the upgrade after --"
fi
now=$(installed)
fits "${now:-nothing}" || fail "the engine that is installed is ${now:-not to be found}, not $want"
# Packages restart the engine themselves; one that goes on with a program that is gone from the disk was not.
for pid in $(pidof dockerd 2>/dev/null); do
  [ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ] || continue
  case "$(readlink "/proc/$pid/exe")" in
    *"(deleted)")
      service restart || fail "the engine could not be restarted";;
  esac
done
