//! What runs on hosts. It is a macro, so that scripts of other crates begin with it.

/// Functions of a POSIX shell about the engine's service. They need nothing but a host's own programs, and read no standard input.
///
/// - `services`: prints `systemd`, `openrc`, `sysv` or `none`.
/// - `service start|stop|restart`: does that; what the service manager says goes to standard error.
/// - `engine`: prints the process id of this host's engine, or fails; one in a container or in another network is not this host's.
/// - `answers`: whether the engine answers on its socket: a running process and a socket's file are no sign of that.
/// - `comes_up`: waits until it answers, for 90 s at most, and not longer than its process was gone for 15 s.
/// - `goes_down`: waits until its process has ended, for a minute at most.
/// - `starts_at_boot`: prints `yes` or `no`, and nothing where it is not known.
/// - `at_boot`: has the engine started at boot from now on.
/// - `settings_file`: prints the file where the service takes the engine's environment from.
/// - `service_log LINES`: prints the last lines of the engine's log.
#[macro_export]
macro_rules! shell {
    () => {
        r#"services() {
  if [ -d /run/systemd/system ]; then echo systemd
  elif [ -d /run/openrc ] && command -v rc-service >/dev/null 2>&1; then echo openrc
  elif [ -d /etc/init.d ]; then echo sysv
  else echo none
  fi
}
# systemd listens on the engine's socket: where that stays, whoever asks there starts the engine again. One that failed too often in a short
# time is not started before that is forgotten.
service() {
  case $(services)-$1 in
    systemd-stop) systemctl stop docker.socket >/dev/null 2>&1; systemctl stop docker.service;;
    systemd-*)
      systemctl reset-failed docker.service docker.socket >/dev/null 2>&1
      systemctl start docker.socket >/dev/null 2>&1
      systemctl "$1" docker.service;;
    openrc-*) rc-service docker "$1";;
    sysv-*) if [ -x /etc/init.d/docker ]; then /etc/init.d/docker "$1"; else echo "the engine is no service of this host: there is no /etc/init.d/docker"; false; fi;;
    *) echo "no service manager that is known here runs on this host (systemd, OpenRC, /etc/init.d)"; false;;
  esac >&2 </dev/null
}
is_engine() {
  read -r comm 2>/dev/null <"/proc/$1/comm" && [ "$comm" = dockerd ] || return 1
  [ "$(readlink "/proc/$1/ns/net" 2>/dev/null)" = "$(readlink /proc/self/ns/net)" ] || [ "$(id -u)" != 0 ]
}
engine() {
  # It may have another pid file.
  for p in $(cat /var/run/docker.pid 2>/dev/null); do if is_engine "$p"; then echo "$p"; return 0; fi; done
  for p in /proc/[0-9]*; do if is_engine "${p#/proc/}"; then echo "${p#/proc/}"; return 0; fi; done
  return 1
}
# What can open the socket is on most hosts: one of these programs. Where none is, an engine counts that went on for five seconds.
answers() {
  socket=/var/run/docker.sock
  [ -S "$socket" ] && pid=$(engine) || return 1
  request='GET /_ping HTTP/1.0\r\n\r\n'
  if command -v curl >/dev/null 2>&1 && curl --help all 2>/dev/null | grep -q -- --unix-socket; then
    [ "$(curl -s -m 5 --noproxy "*" --unix-socket "$socket" http://docker/_ping)" = OK ]
  elif command -v perl >/dev/null 2>&1; then
    perl -e 'use Socket; alarm 5; socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un($ARGV[0])) or exit 1; syswrite(S, "GET /_ping HTTP/1.0\r\n\r\n"); while (sysread(S, $r, 4096)) { $all .= $r } exit($all =~ /\r\n\r\nOK/ ? 0 : 1)' "$socket"
  elif command -v python3 >/dev/null 2>&1; then
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n"); r = b""
while True:
    d = s.recv(4096)
    if not d: break
    r += d
sys.exit(0 if b"\r\n\r\nOK" in r else 1)' "$socket" 2>/dev/null
  elif command -v docker >/dev/null 2>&1; then
    docker -H "unix://$socket" version >/dev/null 2>&1
  elif command -v socat >/dev/null 2>&1; then
    printf "$request" | socat -t 5 - "UNIX-CONNECT:$socket" 2>/dev/null | grep -q '^OK'
  elif command -v nc >/dev/null 2>&1 && nc -h 2>&1 | grep -q -e '-[A-Za-z]*U'; then
    printf "$request" | nc -U -w 5 "$socket" 2>/dev/null | grep -q '^OK'
  else
    sleep 5
    [ "$(engine)" = "$pid" ]
  fi
}
comes_up() {
  seen=$(date +%s) end=$(($(date +%s) + 90))
  until answers; do
    now=$(date +%s)
    if engine >/dev/null; then seen=$now; fi
    [ "$now" -lt "$end" ] && [ "$((now - seen))" -lt 15 ] || return 1
    sleep 0.1
  done
}
goes_down() {
  n=0
  while engine >/dev/null; do n=$((n + 1)); [ "$n" -lt 600 ] || return 1; sleep 0.1; done
}
starts_at_boot() {
  case $(services) in
    systemd)
      systemctl show -p Version >/dev/null 2>&1 || return 0
      for unit in docker.service docker.socket; do
        # Older ones say nothing of a unit that is not there.
        systemctl cat "$unit" >/dev/null 2>&1 || continue
        case "$(systemctl is-enabled "$unit" 2>/dev/null)" in disabled|masked|not-found) ;; *) echo yes; return;; esac
      done
      echo no;;
    openrc)
      [ -d /etc/runlevels ] || return 0
      for link in /etc/runlevels/*/docker; do if [ -e "$link" ]; then echo yes; return; fi; done
      echo no;;
    sysv)
      [ -x /etc/init.d/docker ] || return 0
      for link in /etc/rc[S2345].d/S*docker; do if [ -e "$link" ]; then echo yes; return; fi; done
      for folder in /etc/rc2.d /etc/rc3.d /etc/rc5.d; do if [ -d "$folder" ]; then echo no; return; fi; done;;
  esac
}
at_boot() {
  case $(services) in
    systemd) systemctl -q enable docker.service;;
    openrc) rc-update -q add docker default;;
    sysv) if command -v update-rc.d >/dev/null 2>&1; then update-rc.d docker defaults; fi;;
  esac >/dev/null 2>&1 </dev/null || true
}
# OpenRC gives scripts of its own kind a file of its own; the packages of Debian have a script of the other kind.
settings_file() {
  case $(services) in
    systemd) echo /etc/systemd/system/docker.service.d/swarm-proxy.conf;;
    openrc)
      if [ -r /etc/init.d/docker ]; then
        if head -n 1 /etc/init.d/docker | grep -q openrc-run; then echo /etc/conf.d/docker; else echo /etc/default/docker; fi
      elif command -v apt-get >/dev/null 2>&1; then echo /etc/default/docker
      else echo /etc/conf.d/docker
      fi;;
    *) echo /etc/default/docker;;
  esac
}
service_log() {
  if [ -d /run/systemd/system ]; then journalctl -u docker.service -n "$1" --no-pager -o cat 2>/dev/null
  elif [ -r /var/log/docker.log ]; then tail -n "$1" /var/log/docker.log
  elif [ -r /var/log/docker/current ]; then tail -n "$1" /var/log/docker/current
  fi
}
"#
    };
}
