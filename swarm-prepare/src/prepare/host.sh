umask 022
home=/var/lib/swarm-prepare
config=/etc/docker/daemon.json
mode=$1; shift
digest() { if [ -e "$1" ]; then sha256sum <"$1" | cut -d ' ' -f 1; else echo none; fi; }
containers() { pidof containerd-shim-runc-v2 containerd-shim 2>/dev/null | wc -w; }
last_words() { service_log 5 >&2; }
record() { mkdir -p "$home" && chmod 700 "$home"; }
names() {
  case $(packages) in
    apt) dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p';;
    # Keys that packages are signed with are entries of one name; one that a repository brought is told from those that were there.
    dnf|zypper) rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\n' | sed '/^gpg-pubkey /{s/ /-/;b}; s/ .*//';;
    apk) apk info -q;;
  esac | sort -u
}
# The distribution as Docker's repositories name it, and the name of its release: what is derived from another one uses that one's.
distribution() {
  (. /etc/os-release
    case $ID in
      ol) echo 'centos stable';;
      debian|ubuntu|raspbian|fedora|centos|rhel) echo "$ID ${VERSION_CODENAME:-stable}";;
      *) case " ${ID_LIKE:-} " in
          *' ubuntu '*) echo "ubuntu ${UBUNTU_CODENAME:-${VERSION_CODENAME:-stable}}";;
          *' debian '*) echo "debian ${DEBIAN_CODENAME:-${VERSION_CODENAME:-stable}}";;
          *' rhel '*|*' centos '*) echo 'centos stable';;
          *) echo "$ID ${VERSION_CODENAME:-stable}";;
        esac;;
    esac)
}
# What is installed now and was not before.
added() { names >"$home/packages.now" && comm -13 "$home/packages.before" "$home/packages.now"; rm -f "$home/packages.now"; }
# An engine of a version that was asked for stays at it.
hold() { if [ -n "$want" ] && pin "$1"; then echo "$1" >"$home/held"; fi; }
remains() {
  added >"$home/packages"
  left=$(grep -v '^gpg-pubkey-' "$home/packages" | tr '\n' ' ')
  fail "$1${left:+; of it these packages are there now: $left}; running again goes on from here"
}
fetch() {
  if has curl; then curl -fsSL "$1"; elif has wget; then wget -qO- "$1"; else return 1; fi
}

case $mode in
look)
  echo swarm-prepare-begin
  echo "uid $(id -u)"
  login=${SUDO_USER:-$(id -un)}
  echo "login $login"
  case " $(id -nG "$login" 2>/dev/null) " in *' docker '*) echo in-group;; esac
  if [ -r /etc/os-release ]; then (. /etc/os-release; echo "os ${ID:-unknown} ${VERSION_ID:--} ${VERSION_CODENAME:--} ${VARIANT_ID:--}"); fi
  [ ! -e /run/ostree-booted ] || echo immutable
  echo "packages $(packages)"
  echo "services $(services)"
  version=$(installed); [ -z "$version" ] || echo "engine $version"
  [ -z "$(engine)" ] || echo running
  [ ! -e "$home/installing" ] || echo installing
  root=$(tr -d '\n' <"$config" 2>/dev/null | sed -n 's/.*"data-root"[^"]*"\([^"]*\)".*/\1/p')
  [ ! -e "${root:-/var/lib/docker}/swarm/docker-state.json" ] || echo state
  echo "config $(digest "$config")"
  if [ -r "$config" ]; then echo "json $(base64 <"$config" | tr -d '\n')"; fi
  if [ -r "$home/proxy" ] && read -r line <"$home/proxy" && [ -e "${line#* }" ]; then echo "proxy ${line%% *}"; fi
  for file in "$home"/firewall.*; do
    [ -r "$file" ] && read -r line <"$file" || continue
    chain=${file#"$home"/firewall.}
    iptables -w -C INPUT -j "$chain" 2>/dev/null && iptables -w -n -L "$chain" >/dev/null 2>&1 && echo "firewall $chain $line"
  done
  if [ -n "$(ls -A "$home" 2>/dev/null)" ]; then echo prepared; fi
  echo swarm-prepare-end;;

hook)
  exec sh -c "$1";;

# The digest of the configuration that the new one was made from, or `keep`; `write` or `keep` for the proxy; whether containers may be
# restarted. On standard input: the configuration, a line, the digest of the proxy's lines, and those.
configure)
  from=$1 proxy=$2 allowed=$3
  record
  all=$(mktemp) new=$(mktemp)
  trap 'rm -f "$all" "$new"' EXIT
  cat >"$all"
  sed '/^swarm-prepare-proxy$/,$d' "$all" >"$new"
  was=$(digest "$config")
  if [ "$from" != keep ] && [ "$was" != "$from" ] && [ "$was" != "$(digest "$new")" ]; then
    fail "$config was changed by someone else since the plan was made; plan again"
  fi
  running=$(engine)
  if [ -n "$running" ] && [ "$allowed" != yes ] && [ "$(containers)" -gt 0 ]; then
    fail "containers run there, and the engine would be restarted under them; --allow-restart allows that"
  fi
  changed=
  if [ "$from" != keep ] && [ "$was" != "$(digest "$new")" ]; then
    # Engines before 23 have no way to look at it alone.
    if dockerd --help 2>/dev/null | grep -q -- --validate; then
      dockerd --validate --config-file "$new" >&2 || fail "the engine does not accept the new $config; nothing was changed"
    fi
    mkdir -p "${config%/*}"
    if [ ! -e "$home/daemon.json.before" ] && [ ! -e "$home/daemon.json.none" ]; then
      if [ -e "$config" ]; then cp -p "$config" "$home/daemon.json.before"; else : >"$home/daemon.json.none"; fi
    fi
    [ ! -e "$config" ] || cp -p "$config" "$home/daemon.json.last"
    # It keeps its owner and its mode: what is in it may be no one else's.
    if [ -e "$config" ]; then cp -p "$config" "$config.new"; else : >"$config.new" && chmod 644 "$config.new"; fi
    cat "$new" >"$config.new" && mv "$config.new" "$config" || fail "$config cannot be written"
    changed=yes
  fi
  if [ "$proxy" != keep ]; then
    file=$(settings_file)
    mkdir -p "${file%/*}"
    lines=$(mktemp)
    if [ "$(services)" = systemd ]; then
      { echo '[Service]'; sed '1,/^swarm-prepare-proxy$/d' "$all" | sed '1d; s/%/%%/g; s/.*/Environment="&"/'; } >"$lines"
    else
      [ ! -e "$file" ] || sed '/^# swarm-prepare: begin$/,/^# swarm-prepare: end$/d' "$file" >"$lines"
      { echo '# swarm-prepare: begin'; sed '1,/^swarm-prepare-proxy$/d' "$all" | sed "1d; s/=/='/; s/\$/'/; s/^/export /"; echo '# swarm-prepare: end'; } >>"$lines"
    fi
    # It may hold a password.
    chmod 600 "$lines" && mv "$lines" "$file" || fail "$file cannot be written"
    sum=$(sed '1,/^swarm-prepare-proxy$/d' "$all" | sed -n 1p)
    (umask 077; echo "$sum $file" >"$home/proxy")
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
    changed=yes
  fi
  if [ -n "$changed" ] && [ -n "$running" ]; then
    if service restart && comes_up; then exit 0; fi
    last_words
    if [ -e "$home/daemon.json.last" ]; then mv "$home/daemon.json.last" "$config"; else rm -f "$config"; fi
    if service restart && comes_up; then fail "the engine did not start with the new configuration; it runs with the old one again"; fi
    fail "the engine does not start, neither with the new configuration nor with the old one, which is in place again"
  fi
  exit 0;;

# What it is from, the version by its beginning, the repository's address, whether its key comes on standard input, and the digest of the
# archive that comes there instead.
install)
  how=$1 want=$2 url=$3 key=$4 sum=$5
  now=$(installed)
  if [ -n "$now" ]; then
    if [ -n "$want" ] && ! fits "$now"; then fail "an engine $now is installed already, not $want"; fi
    if [ ! -e "$home/installing" ]; then
      [ -n "$(engine)" ] || service start
      comes_up || { last_words; fail "the engine does not start"; }
      exit 0
    fi
  fi
  record
  [ -e "$home/packages.before" ] || names >"$home/packages.before"
  : >"$home/installing"
  # Files of the host that the packages take for their own, and take with them.
  for file in default conf.d; do
    if [ -e "/etc/$file/docker" ] && [ ! -e "$home/$file.before" ]; then cp -p "/etc/$file/docker" "$home/$file.before"; fi
  done
  if [ "$how" = offline ]; then
    mkdir -p "$home/bundle"
    base64 -d >"$home/bundle.tgz" || fail "the archive did not arrive"
    [ "$(digest "$home/bundle.tgz")" = "$sum" ] || fail "the archive did not arrive as it was sent"
    tar -xzf "$home/bundle.tgz" -C "$home/bundle" && rm -f "$home/bundle.tgz" || fail "the archive cannot be unpacked; is the disk full?"
    debs=$(find "$home/bundle" -name '*.deb') rpms=$(find "$home/bundle" -name '*.rpm') static=$(find "$home/bundle" -type f -name dockerd)
    if [ -n "$debs" ] && [ "$(packages)" = apt ]; then
      # shellcheck disable=SC2086
      dpkg -i --force-confdef --force-confold $debs >&2 || remains "dpkg could not install the packages of the archive"
    elif [ -n "$rpms" ] && has rpm; then
      # shellcheck disable=SC2086
      rpm -U --replacepkgs $rpms >&2 || remains "rpm could not install the packages of the archive"
    elif [ -n "$static" ]; then
      has iptables || fail "the engine needs iptables, which is not on this host"
      for file in "${static%/*}"/*; do
        install -m 755 "$file" "/usr/local/bin/${file##*/}" || fail "/usr/local/bin cannot be written"
        echo "/usr/local/bin/${file##*/}" >>"$home/files"
      done
      case $(services) in
        systemd) unit=/etc/systemd/system/docker.service
          printf '%s\n' '[Unit]' 'Description=Docker' 'After=network-online.target' 'Wants=network-online.target' '[Service]' 'Type=notify' \
            'ExecStart=/usr/local/bin/dockerd' 'ExecReload=/bin/kill -s HUP $MAINPID' 'Restart=always' 'RestartSec=2' 'LimitNOFILE=infinity' \
            'LimitNPROC=infinity' 'TasksMax=infinity' 'Delegate=yes' 'KillMode=process' 'OOMScoreAdjust=-500' '[Install]' \
            'WantedBy=multi-user.target' >"$unit"
          systemctl daemon-reload;;
        openrc) unit=/etc/init.d/docker
          printf '%s\n' '#!/sbin/openrc-run' 'command=/usr/local/bin/dockerd' 'command_background=true' 'pidfile=/run/dockerd.pid' \
            'output_log=/var/log/docker.log' 'error_log=/var/log/docker.log' '[ ! -r /etc/default/docker ] || . /etc/default/docker' 'depend() { need net; }' >"$unit"; chmod 755 "$unit";;
        sysv) unit=/etc/init.d/docker
          cat >"$unit" <<'SERVICE'
#!/bin/sh
### BEGIN INIT INFO
# Provides: docker
# Required-Start: $network $remote_fs
# Required-Stop: $network $remote_fs
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
# Short-Description: Docker
### END INIT INFO
PATH="$PATH:/usr/sbin:/sbin:/usr/local/bin"
export PATH
if [ -r /etc/default/docker ]; then . /etc/default/docker; fi
runs() { p=$(cat /var/run/docker.pid 2>/dev/null) && kill -0 "$p" 2>/dev/null; }
case "$1" in
  start) runs && exit 0; rm -f /var/run/docker.pid; setsid dockerd >>/var/log/docker.log 2>&1 </dev/null &;;
  stop) if runs; then kill "$p"; while kill -0 "$p" 2>/dev/null; do sleep 0.1; done; fi;;
  restart) "$0" stop; exec "$0" start;;
  status) runs;;
  *) echo "usage: $0 start|stop|restart|status" >&2; exit 2;;
esac
SERVICE
          chmod 755 "$unit";;
        *) fail "this host has no service manager that could start the engine";;
      esac
      echo "$unit" >>"$home/files"
    else fail "the archive holds neither an engine nor packages that this host can install"
    fi
    rm -rf "$home/bundle"
  else
    of=$(distribution)
    case $(packages) in
      apt)
        wait="-o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any"
        if [ -n "$(dpkg --audit 2>/dev/null)" ]; then
          patiently dpkg --configure -a --force-confdef --force-confold || remains "packages of this host are half installed, and \`dpkg --configure -a\` fails"
        fi
        # The repository of an installation that did not end: it may be what that failed of.
        rm -f /etc/apt/sources.list.d/swarm-prepare.list
        set -- docker.io
        if [ "$how" = docker-ce ]; then
          set -- docker-ce docker-ce-cli containerd.io
          mkdir -p /etc/apt/keyrings
          printf '%s\n' /etc/apt/keyrings/swarm-prepare.asc /etc/apt/sources.list.d/swarm-prepare.list >>"$home/files"
          if [ "$key" = given ]; then cat >/etc/apt/keyrings/swarm-prepare.asc
          else
            if ! has curl && ! has wget; then
              # shellcheck disable=SC2086
              patiently apt-get -qq $wait update && apt-get -qq -y $wait install --no-install-recommends ca-certificates curl >&2 || remains "apt could not install curl"
            fi
            fetch "$url/${of% *}/gpg" >/etc/apt/keyrings/swarm-prepare.asc || fail "the key of $url could not be fetched"
          fi
          echo "deb [arch=$(dpkg --print-architecture) signed-by=/etc/apt/keyrings/swarm-prepare.asc] $url/${of% *} ${of#* } stable" >/etc/apt/sources.list.d/swarm-prepare.list
        fi
        # shellcheck disable=SC2086
        patiently apt-get -qq $wait update || remains "apt could not read its lists"
        offers() { apt-cache madison "$1" | tr -d ' ' | cut -d '|' -f 2; }
        version=$(chosen $(offers "$1"))
        [ -n "$version" ] || remains "apt offers no $1${want:+ $want}; it offers $(offers "$1" | tr '\n' ' ')"
        first=$1; all="$1=$version"; shift
        for one in "$@"; do
          if offers "$one" | grep -qxF -e "$version"; then all="$all $one=$version"; else all="$all $one"; fi
        done
        # Newer packages of Debian have the command line of docker apart.
        if [ "$first" = docker.io ] && offers docker-cli | grep -qxF -e "$version"; then all="$all docker-cli=$version"; fi
        # shellcheck disable=SC2086
        apt-get -qq -y $wait -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install --no-install-recommends \
          $all ca-certificates >&2 || remains "apt could not install $all"
        hold "$first";;
      dnf)
        if [ "$how" = docker-ce ]; then
          sign="$url/${of% *}/gpg"
          if [ "$key" = given ]; then
            # Only what this key signed is taken: dnf takes every key that it is to fetch.
            mkdir -p /etc/pki/rpm-gpg && cat >/etc/pki/rpm-gpg/swarm-prepare.asc || fail "/etc/pki/rpm-gpg cannot be written"
            sign=file:///etc/pki/rpm-gpg/swarm-prepare.asc
            echo /etc/pki/rpm-gpg/swarm-prepare.asc >>"$home/files"
          fi
          mkdir -p /etc/yum.repos.d
          printf '%s\n' '[swarm-prepare]' 'name=Docker' "baseurl=$url/${of% *}/\$releasever/\$basearch/stable" 'enabled=1' 'gpgcheck=1' "gpgkey=$sign" >/etc/yum.repos.d/swarm-prepare.repo
          echo /etc/yum.repos.d/swarm-prepare.repo >>"$home/files"
          set -- "docker-ce${want:+-$want*}" "docker-ce-cli${want:+-$want*}" containerd.io
        else
          patiently dnf -q makecache || remains "dnf could not read its repositories"
          # By its name: where there is no engine, what is not one offers to stand in for it.
          if dnf -q list --available moby-engine >/dev/null 2>&1; then set -- "moby-engine${want:+-$want*}"
          elif dnf -q list --available docker >/dev/null 2>&1; then set -- "docker${want:+-$want*}"
          # dnf may be set to go on without a repository that it cannot read.
          elif dnf -q makecache --setopt='*.skip_if_unavailable=0' >&2; then
            remains "this system offers no engine of its own; use \`install: docker-ce\`"
          else remains "dnf could not read its repositories"
          fi
        fi
        dnf -q -y install "$@" >&2 || remains "dnf could not install $*"
        hold "${1%"-$want*"}";;
      zypper)
        [ "$how" = distro ] || fail "zypper knows no repository laid out as Docker's; use \`install: distro\`"
        patiently zypper -q -n refresh || remains "zypper could not read its repositories"
        version=$(chosen $(zypper_offers docker))
        [ -n "$version" ] || remains "zypper offers no docker${want:+ $want}; it offers $(zypper_offers docker | tr '\n' ' ')"
        zypper -q -n install "docker=$version" >&2 || remains "zypper could not install docker=$version"
        hold docker;;
      apk)
        [ "$how" = distro ] || fail "apk knows no repository laid out as Docker's; use \`install: distro\`"
        apk --wait 300 add -q --update-cache "docker${want:+~=$want}" >&2 || remains "apk could not install docker";;
      *) fail "this host has no package manager that is known here";;
    esac
  fi
  added >"$home/packages"
  now=$(installed)
  [ -n "$now" ] || fail "no engine is to be found after the installation"
  if [ -n "$want" ] && ! fits "$now"; then fail "the engine that was installed is $now, not $want"; fi
  at_boot
  [ -n "$(engine)" ] || service start
  comes_up || { last_words; fail "the engine was installed and does not start"; }
  rm -f "$home/installing";;

start)
  at_boot
  [ -n "$(engine)" ] || service start
  comes_up || { last_words; fail "the engine does not start"; };;

# The login.
group)
  record
  getent group docker >/dev/null 2>&1 || grep -q '^docker:' /etc/group || { if has groupadd; then groupadd -r docker; else addgroup -S docker; fi; } >&2 ||
    fail "the group docker could not be made"
  { if has usermod; then usermod -aG docker "$1"; else addgroup "$1" docker; fi; } >&2 || fail "$1 could not be put into the group docker"
  echo "$1" >>"$home/group";;

# The chain, and the digest of its rules, which come on standard input: `4` or `6` and the rule.
firewall)
  chain=$1 sum=$2
  record
  has iptables-restore || fail "iptables is not on this host"
  if has firewall-cmd && firewall-cmd -q --state 2>/dev/null; then
    fail "firewalld runs here, and what is let in beside it does not count; open the ports with firewall-cmd, and use \`firewall: check\`"
  fi
  rules=$(cat)
  for family in 4 6; do
    case $family in 4) ipt=iptables;; *) ipt=ip6tables;; esac
    mine=$(echo "$rules" | sed -n "s/^$family /-A $chain /p")
    [ -n "$mine" ] || [ "$family" = 4 ] || continue
    printf '%s\n' '*filter' ":$chain - [0:0]" "$mine" COMMIT >"$home/rules.$family"
    "$ipt-restore" -w -n "$home/rules.$family" >&2 || fail "$ipt did not take the rules"
    "$ipt" -w -C INPUT -j "$chain" 2>/dev/null || "$ipt" -w -I INPUT -j "$chain" >&2 || fail "$ipt did not take the rules"
  done
  # So that they are there after a restart of the host, before the engine is.
  printf '%s\n' '#!/bin/sh' "for f in 4:iptables 6:ip6tables; do" "  r=$home/rules.\${f%%:*}; t=\${f#*:}" '  [ -r "$r" ] || continue' \
    '  "$t-restore" -w -n "$r"' "  \"\$t\" -w -C INPUT -j $chain 2>/dev/null || \"\$t\" -w -I INPUT -j $chain" done >"$home/firewall"
  chmod 755 "$home/firewall"
  unit=
  case $(services) in
  systemd)
    unit=/etc/systemd/system/swarm-firewall.service
    printf '%s\n' '[Unit]' 'Description=What the swarm needs is let in' 'Before=docker.service' '[Service]' 'Type=oneshot' "ExecStart=$home/firewall" \
      'RemainAfterExit=yes' '[Install]' 'WantedBy=multi-user.target' >"$unit"
    systemctl daemon-reload && systemctl -q enable swarm-firewall.service >&2;;
  openrc)
    unit=/etc/init.d/swarm-firewall
    printf '%s\n' '#!/sbin/openrc-run' 'description="What the swarm needs is let in"' 'depend() { before docker; }' "start() { $home/firewall; }" 'stop() { :; }' >"$unit"
    chmod 755 "$unit"
    rc-update -q add swarm-firewall default >&2;;
  *)
    if [ -d /etc/network/if-pre-up.d ]; then
      unit=/etc/network/if-pre-up.d/swarm-firewall
      ln -sf "$home/firewall" "$unit"
    elif has update-rc.d; then
      unit=/etc/init.d/swarm-firewall
      printf '%s\n' '#!/bin/sh' '### BEGIN INIT INFO' '# Provides: swarm-firewall' '# Required-Start: $local_fs' '# Required-Stop:' '# X-Start-Before: docker' \
        '# Default-Start: 2 3 4 5' '# Default-Stop:' '# Short-Description: What the swarm needs is let in' '### END INIT INFO' \
        "case \"\$1\" in start|restart|force-reload) exec $home/firewall;; esac" >"$unit"
      chmod 755 "$unit"
      update-rc.d swarm-firewall defaults >&2
    fi;;
  esac
  [ -z "$unit" ] || echo "$unit" >>"$home/files"
  echo "$sum" >"$home/firewall.$chain";;

reset)
  [ -n "$(ls -A "$home" 2>/dev/null)" ] || { echo "nothing was prepared here"; exit 0; }
  for file in "$home"/firewall.*; do
    [ -e "$file" ] || continue
    chain=${file#"$home"/firewall.}
    for ipt in iptables ip6tables; do
      while "$ipt" -w -D INPUT -j "$chain" 2>/dev/null; do :; done
      "$ipt" -w -F "$chain" 2>/dev/null && "$ipt" -w -X "$chain" 2>/dev/null
    done
    echo "firewall: the rules of $chain are gone"
  done
  changed=
  if [ -e "$home/daemon.json.before" ]; then cp -p "$home/daemon.json.before" "$config"; changed=yes; echo "$config is as it was"
  elif [ -e "$home/daemon.json.none" ]; then rm -f "$config"; changed=yes; echo "$config is gone, as it was"
  fi
  if [ -r "$home/proxy" ] && read -r line <"$home/proxy"; then
    file=${line#* }
    case $file in
      *.conf) rm -f "$file"; [ ! -d /run/systemd/system ] || systemctl daemon-reload;;
      *) if [ -e "$file" ]; then sed -i '/^# swarm-prepare: begin$/,/^# swarm-prepare: end$/d' "$file"; fi;;
    esac
    changed=yes; echo "the engine's proxy is gone"
  fi
  if [ -e "$home/packages" ] || [ -e "$home/installing" ] || grep -q '/dockerd$' "$home/files" 2>/dev/null; then
    [ -e "$home/packages" ] || added >"$home/packages"
    [ -z "$(engine)" ] || service stop
    if [ -e "$home/held" ]; then
      while read -r one; do unpin "$one"; done <"$home/held"
    fi
    # Those of them that are there: a run before may have been cut off.
    names >"$home/packages.now"
    comm -12 "$home/packages" "$home/packages.now" >"$home/packages.gone"
    gone=$(grep -v '^gpg-pubkey-' "$home/packages.gone" | tr '\n' ' ') keys=$(grep '^gpg-pubkey-' "$home/packages.gone" | tr '\n' ' ')
    if [ -n "$gone" ]; then
      # shellcheck disable=SC2086
      case $(packages) in
        apt) apt-get -qq -y -o DPkg::Lock::Timeout=300 purge $gone;;
        # What was there before stays, also where nothing else needs it any more.
        dnf) dnf -q -y --setopt=clean_requirements_on_remove=False remove $gone;;
        zypper) zypper -q -n remove $gone;;
        apk) apk --wait 300 del -q $gone;;
      esac >&2 </dev/null || fail "packages that were installed could not be removed: $gone"
      echo "removed: $gone"
    fi
    # shellcheck disable=SC2086
    if [ -n "$keys" ]; then rpm -e $keys >&2 || fail "the key of the repository could not be taken from rpm: $keys"; fi
    for file in default conf.d; do
      if [ -e "$home/$file.before" ]; then sed '/^# swarm-prepare: begin$/,/^# swarm-prepare: end$/d' "$home/$file.before" >"/etc/$file/docker"; fi
    done
    changed=
  fi
  if [ -e "$home/group" ]; then
    # The group may have gone with the packages.
    sort -u "$home/group" | while read -r login; do
      { if has gpasswd; then gpasswd -d "$login" docker; else delgroup "$login" docker; fi; } >/dev/null 2>&1 || true
      echo "$login is not in the group docker any more"
    done
  fi
  if grep -q swarm-firewall "$home/files" 2>/dev/null; then
    case $(services) in
      systemd) systemctl -q disable swarm-firewall.service;;
      openrc) rc-update -q del swarm-firewall default;;
      *) if has update-rc.d; then update-rc.d -f swarm-firewall remove; fi;;
    esac >/dev/null 2>&1 </dev/null || true
  fi
  if [ -e "$home/files" ]; then
    sort -u "$home/files" | while read -r file; do rm -f "$file"; echo "removed: $file"; done
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
  fi
  if [ -n "$changed" ] && [ -n "$(engine)" ]; then service restart; comes_up || { last_words; fail "the engine does not start with its own configuration"; }; fi
  rm -rf "$home"/* && rmdir "$home" 2>/dev/null || true
  if [ -d /var/lib/docker ] && [ -n "$(ls -A /var/lib/docker 2>/dev/null)" ]; then echo "the engine's data stays in /var/lib/docker"; fi;;
*) fail "unknown: $mode";;
esac
